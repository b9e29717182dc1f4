/** The large view of a trajectory: the comparer, the thinker's critique of the edit, and the strip of turns. */

import { Comparer, MODES } from "./comparer.mjs";
import { element, icon } from "./dom.mjs";
import { stepPanel, toolButton } from "./step_panel.mjs";
import { Steering } from "./steering.mjs";
import { Strip } from "./strip.mjs";
import { hasRegions, regionsOf } from "./regions.mjs";
import { describeStep } from "./trajectory.mjs";
import { firstChoice, summarize } from "./view.mjs";

/** @typedef {import("./dom.mjs").IconName} IconName */
/** @typedef {import("./view.mjs").View} View */

const KEY_LABELS = {
  "← →": "turns",
  "↑ ↓": "candidates",
  space: "source or result",
  c: "compare",
  d: "difference",
  b: "boxes",
  "+ − 0 1": "zoom",
  f: "fullscreen",
};

export class Viewer {
  /** @type {View | null} */
  #view = null;
  #selected = -1; // index of a step
  #title = element("h1", { class: "rt-title" });
  #about = element("p", { class: "rt-about" });
  #modeButtons = element("div", { class: "rt-modes", role: "group", "aria-label": "What to show" });
  #boxesButton = toolButton(
    {
      "aria-pressed": "true",
      title: "Show what the thinker points at (b)",
      hidden: true,
      onclick: () => this.#toggleBoxes(),
    },
    "Boxes",
  );
  #comparer = new Comparer((mode) => this.#showMode(mode));
  #panel = element("div", { class: "rt-panel", tabindex: 0, role: "region", "aria-label": "About this turn" });
  #announcer = element("div", { class: "rt-hidden", "aria-live": "polite" });
  #strip = new Strip({ onselect: (index) => this.select(index) });
  #steering;
  #onclose;
  #onselect;
  element;

  /**
   * @param {object} listeners
   * @param {(order: import("./steering.mjs").Order) => void} [listeners.send] see Steering
   * @param {(() => void) | null} [listeners.onexport] the user wants the run as one file
   * @param {(() => void) | null} [listeners.onclose] the user wants to close it
   * @param {(index: number) => void} [listeners.onselect] the user went to a step
   */
  constructor({ send = () => {}, onexport = null, onclose = null, onselect = () => {} } = {}) {
    this.#onclose = onclose;
    this.#onselect = onselect;
    this.#steering = new Steering({ send, onleave: () => this.focus() });
    for (const mode of /** @type {(keyof typeof MODES)[]} */ (Object.keys(MODES))) {
      const onclick = () => {
        this.#comparer.mode = mode;
      };
      this.#modeButtons.append(toolButton({ "data-mode": mode, onclick }, MODES[mode]));
    }
    this.element = element(
      "div",
      { class: "rt rt-viewer", tabindex: -1, onkeydown: (event) => this.#handleKey(event) },
      this.#header(onexport, onclose),
      element("main", { class: "rt-main" }, this.#comparer.element, this.#panel),
      this.#steering.element,
      this.#strip.element,
      element("p", { class: "rt-keys" }, keyHints()),
      this.#announcer,
    );
    this.#showMode(this.#comparer.mode);
  }

  /** @param {(() => void) | null} onexport @param {(() => void) | null} onclose */
  #header(onexport, onclose) {
    /** @type {(label: string, title: string, iconName: IconName, onclick: () => void) => HTMLElement} */
    const button = (label, title, iconName, onclick) =>
      toolButton({ "aria-label": label, title, onclick }, icon(iconName));
    return element(
      "header",
      { class: "rt-header" },
      element("div", { class: "rt-heading" }, this.#title, this.#about),
      this.#boxesButton,
      this.#modeButtons,
      onexport ? button("Export", "Export as one HTML file", "download", onexport) : null,
      button("Fullscreen", "Fullscreen (f)", "fullscreen", () => this.#toggleFullscreen()),
      onclose ? button("Close", "Close (Esc)", "cross", onclose) : null,
    );
  }

  /** Show a view, or its new state. If the newest turn was selected, the next one takes over the selection. @param {View} view */
  show(view) {
    const before = this.#view;
    const hadFocus = this.element.contains(document.activeElement);
    const lastTurn = view.turns.at(-1);
    const atNewest = before !== null && this.#selected === before.turns.at(-1)?.lead;
    this.#view = view;
    const { record, turns } = view;
    this.#title.textContent = record.instruction;
    this.#title.title = record.instruction;
    this.#about.replaceChildren(...summarize(view));
    this.#boxesButton.hidden = !hasRegions(record);
    if (!record.steps[this.#selected]) this.#selected = firstChoice(view);
    else if (atNewest && lastTurn && turns.length > before.turns.length) this.#selected = lastTurn.lead;
    this.#announce(before, view);
    this.#strip.show(view, this.#selected);
    this.select(this.#selected);
    if (hadFocus && !document.activeElement?.checkVisibility()) this.focus(); // it was on a button that is now hidden
  }

  /** @param {number} index of a step */
  select(index) {
    this.#selected = index;
    const view = this.#view;
    if (!view) return;
    const { record, turns, address } = view;
    const step = record.steps[index];
    this.#strip.select(index);
    this.#steering.show(view, index);
    this.#onselect(index);
    const turn = turns.find((each) => each.steps.includes(index));
    if (!step || !turn) {
      this.#showFirstEdit(view);
      return;
    }
    const label = `Turn ${turn.number}${turn.steps.length > 1 ? `, candidate ${step.candidate + 1}` : ""}`;
    const alt = describeStep(record, turn, index);
    this.#comparer.show(address(record.source), address(step.file), label, alt, regionsOf(step));
    this.#panel.replaceChildren(...stepPanel(view, turn, index, (other) => this.select(other)));
    this.#panel.scrollTop = 0;
  }

  /** Show a run that has no step yet. @param {View} view */
  #showFirstEdit({ record, address, live }) {
    const file = live?.images[0];
    const label = file ? "Turn 1, looking…" : "No edit yet";
    const text = file ? "The thinker is looking at the first edit." : "The first edit is on its way.";
    this.#comparer.show(address(record.source), address(file ?? record.source), label, "");
    this.#panel.replaceChildren(element("p", { class: "rt-empty" }, text));
  }

  focus() {
    this.#strip.element.focus({ preventScroll: true });
  }

  /** @param {View | null} before @param {View} view */
  #announce(before, { record, turns, live }) {
    const last = turns.at(-1);
    if (!before) return;
    if (last && turns.length > before.turns.length) {
      this.#announcer.textContent = describeStep(record, last, last.lead);
    } else if (before.live && !live) {
      this.#announcer.textContent = `The run has ended. ${record.message}`;
    }
  }

  /** @param {string} mode */
  #showMode(mode) {
    for (const button of this.#modeButtons.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
  }

  #toggleBoxes() {
    const hidden = this.element.toggleAttribute("data-boxes-hidden");
    this.#boxesButton.setAttribute("aria-pressed", String(!hidden));
  }

  #toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen();
  }

  /** @type {Record<string, () => void>} */
  #commands = {
    ArrowLeft: () => this.#goToTurn(-1),
    ArrowRight: () => this.#goToTurn(1),
    ArrowUp: () => this.#goToCandidate(-1),
    ArrowDown: () => this.#goToCandidate(1),
    " ": () => this.#comparer.flip(),
    c: () => {
      this.#comparer.mode = "compare";
    },
    d: () => this.#comparer.toggleDifference(),
    b: () => this.#toggleBoxes(),
    f: () => this.#toggleFullscreen(),
    "+": () => this.#comparer.zoomIn(),
    "=": () => this.#comparer.zoomIn(),
    "-": () => this.#comparer.zoomOut(),
    0: () => this.#comparer.zoomToFit(),
    1: () => this.#comparer.zoomToActualPixels(),
  };

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    event.stopPropagation(); // the page below has its own keys
    if (event.key === "Escape" && this.#onclose && !document.fullscreenElement) {
      event.preventDefault();
      this.#onclose();
      return;
    }
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.matches("textarea, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && target.matches("button")) return; // it presses the button
    const command = this.#commands[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!command) return;
    event.preventDefault();
    command();
  }

  /** @param {number} by */
  #goToTurn(by) {
    const turns = this.#view?.turns ?? [];
    const turn = turns[turns.findIndex(({ steps }) => steps.includes(this.#selected)) + by];
    if (turn) this.select(turn.lead);
  }

  /** @param {number} by */
  #goToCandidate(by) {
    const steps = this.#view?.turns.find((turn) => turn.steps.includes(this.#selected))?.steps ?? [];
    const next = steps[steps.indexOf(this.#selected) + by];
    if (next !== undefined) this.select(next);
  }
}

const keyHints = () =>
  Object.entries(KEY_LABELS).map(([key, label]) => element("span", {}, element("kbd", {}, key), ` ${label}`));
