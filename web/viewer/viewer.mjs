/** The large view of a trajectory: comparer, what was said of the edit, and the strip of turns. */

import { Comparer, MODES } from "./comparer.mjs";
import { element, icon, setAttribute } from "./dom.mjs";
import { describe, isJudged, number, troubleOf, turnsOf, verdictOf, warningOf, writerOf } from "./record.mjs";
import { Steering, ending } from "./steering.mjs";
import { Strip, levelOf, prompt } from "./strip.mjs";

/**
 * What every part of the view shows: record (a trajectory.json), its turns, `address(file)` of a picture, and while the
 * loop runs `live` = {next: {turn, prompt, prompt_by, ends?}, phase, waiting, images, preview}; ends: why the thinker would
 * stop here; images: the files of the next turn, once they are there; preview: until then, the address of what comes of it.
 */
export function viewOf(record, address, live = null) {
  const turns = turnsOf(record);
  const pending = live && live.next.turn > (turns.at(-1)?.number ?? 0) ? live.next : null;
  return { record, turns, address, live, pending };
}

/** The step to look at first: the best, else the last. */
export const firstChoice = ({ record, turns }) => record.best ?? turns.at(-1)?.lead ?? -1;

/** How a run stands: how it ended, after how many turns, why, and what made it. */
export function summary({ record, turns, live }) {
  const state = live ? element("span", { class: "rt-end", "data-kind": "live" }, "Running") : ending(record);
  const count = `${turns.length} turn${turns.length === 1 ? "" : "s"}`;
  const names = [...new Set([record.options?.editor, record.options?.thinker])].filter(Boolean).join(" + ");
  const message = live ? "" : (troubleOf(record) || record.message).replace(/\.$/, "");
  return [state, ` ${[count, message, names].filter(Boolean).join(" · ")}`];
}

export class Viewer {
  #view = null;
  #selected = -1;
  #title = element("h1", { class: "rt-title" });
  #about = element("p", { class: "rt-about" });
  #modes = element("div", { class: "rt-modes", role: "group", "aria-label": "What is shown" });
  #comparer = new Comparer((mode) => this.#showMode(mode));
  #panel = element("div", {
    class: "rt-panel",
    tabindex: 0,
    role: "region",
    "aria-label": "What was said of this turn",
  });
  #announcer = element("div", { class: "rt-hidden", "aria-live": "polite" });
  #strip = new Strip({ onselect: (index) => this.select(index) });
  #steering;
  #onclose;
  #onselect;
  element;

  /**
   * send: see Steering. onexport(): the user wants the run as one file. onclose(): the user wants out.
   * onselect(step index): the user went to a step.
   */
  constructor({ send = () => {}, onexport = null, onclose = null, onselect = () => {} } = {}) {
    this.#onclose = onclose;
    this.#onselect = onselect;
    this.#steering = new Steering({ send, onleave: () => this.focus() });
    for (const [mode, name] of Object.entries(MODES)) {
      const onclick = () => (this.#comparer.mode = mode);
      this.#modes.append(tool({ "data-mode": mode, onclick }, name));
    }
    this.element = element(
      "div",
      { class: "rt rt-viewer", tabindex: -1, onkeydown: (event) => this.#key(event) },
      element(
        "header",
        { class: "rt-header" },
        element("div", { class: "rt-heading" }, this.#title, this.#about),
        this.#modes,
        onexport
          ? tool({ "aria-label": "Export", title: "Export as one HTML file", onclick: onexport }, icon("download"))
          : null,
        tool(
          { "aria-label": "Fullscreen", title: "Fullscreen (f)", onclick: () => this.#fullscreen() },
          icon("fullscreen"),
        ),
        onclose ? tool({ "aria-label": "Close", title: "Close (Esc)", onclick: onclose }, icon("cross")) : null,
      ),
      element("main", { class: "rt-main" }, this.#comparer.element, this.#panel),
      this.#steering.element,
      this.#strip.element,
      element("p", { class: "rt-keys" }, keys()),
      this.#announcer,
    );
    this.#showMode(this.#comparer.mode);
  }

  /** Show a view, or what has become of it. Who looks at the newest turn goes on to the next. */
  show(view) {
    const before = this.#view;
    const focused = this.element.contains(document.activeElement);
    const followed = before && this.#selected === before.turns.at(-1)?.lead;
    this.#view = view;
    const { record, turns } = view;
    this.#title.textContent = record.instruction;
    this.#title.title = record.instruction;
    this.#about.replaceChildren(...summary(view));
    if (!record.steps[this.#selected]) this.#selected = firstChoice(view);
    else if (followed && turns.length > before.turns.length) this.#selected = turns.at(-1).lead;
    this.#announce(before);
    this.#strip.show(view, this.#selected);
    this.select(this.#selected);
    if (focused && !document.activeElement.checkVisibility()) this.focus(); // it was on a button that has gone
  }

  select(index) {
    this.#selected = index;
    const { record, turns, address } = this.#view;
    const step = record.steps[index];
    this.#strip.select(index);
    this.#steering.show(this.#view, index);
    this.#onselect(index);
    if (!step) {
      const [file] = this.#view.live?.images ?? [];
      const name = file ? "Turn 1, looking…" : "No edit yet";
      const text = file ? "The thinker is looking at the first edit." : "The first edit is on its way.";
      this.#comparer.show(address(record.source), address(file ?? record.source), name, "");
      this.#panel.replaceChildren(element("p", { class: "rt-empty" }, text));
      return;
    }
    const turn = turns.find((each) => each.steps.includes(index));
    const name = `Turn ${turn.number}` + (turn.steps.length > 1 ? `, candidate ${step.candidate + 1}` : "");
    this.#comparer.show(address(record.source), address(step.file), name, describe(record, turn, index));
    this.#panel.replaceChildren(...this.#aboutStep(turn, step, index));
    this.#panel.scrollTop = 0;
  }

  focus() {
    this.#strip.element.focus({ preventScroll: true });
  }

  #aboutStep(turn, step, index) {
    const { record } = this.#view;
    const verdict = verdictOf(step);
    const warning = warningOf(step);
    return [
      element(
        "div",
        { class: "rt-step-head" },
        element("h2", {}, `Turn ${turn.number}`),
        record.best === index ? bestBadge(record, step, index) : null,
        element(
          "span",
          { class: "rt-score", title: "What turns are ranked by" },
          element("small", {}, "score"),
          number(step.score),
        ),
      ),
      turn.steps.length > 1 ? this.#candidates(turn, index) : null,
      warning && element("p", { class: "rt-warning", "data-status": verdict.status }, warning),
      verdict.semantic === null
        ? null
        : element("div", { class: "rt-bars" }, bar("Semantic", verdict.semantic), bar("Quality", verdict.quality)),
      part(["Prompt ", element("small", {}, writerOf(turn.promptBy))], prompt(turn.diff, true, "rt-text")),
      verdict.checklist.length ? part("Checklist", checklist(verdict.checklist)) : null,
      step.critique.reasoning ? part("Reasoning", element("p", { class: "rt-text" }, step.critique.reasoning)) : null,
      step.judge?.reasoning ? part("The judge", element("p", { class: "rt-text" }, step.judge.reasoning)) : null,
      part("Preservation", element("p", { class: "rt-text" }, preserved(step.preservation))),
      element("p", { class: "rt-facts" }, facts(step)),
    ].filter(Boolean);
  }

  #candidates(turn, selected) {
    const { record, address } = this.#view;
    return element(
      "div",
      { class: "rt-candidates", role: "group", "aria-label": "Candidates" },
      turn.steps.map((index) => {
        const step = record.steps[index];
        const label = `Candidate ${step.candidate + 1}, score ${number(step.score)}`;
        const attributes = {
          "aria-pressed": String(index === selected),
          "aria-label": label,
          title: label,
        };
        const mark = record.best === index ? icon("star") : null;
        return tool(
          { ...attributes, onclick: () => this.select(index) },
          element("img", { src: address(step.file), alt: "", draggable: "false" }),
          element("span", {}, number(step.score), mark),
        );
      }),
    );
  }

  #announce(before) {
    const { record, turns, live } = this.#view;
    if (!before) return;
    if (turns.length > before.turns.length) {
      this.#announcer.textContent = describe(record, turns.at(-1), turns.at(-1).lead);
    } else if (before.live && !live) {
      this.#announcer.textContent = `The run has ended. ${record.message}`;
    }
  }

  #showMode(mode) {
    for (const button of this.#modes.children) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
  }

  #fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen();
  }

  #key(event) {
    event.stopPropagation(); // the page below has keys of its own
    const typing = event.target.matches("textarea, input");
    if (event.key === "Escape" && this.#onclose && !document.fullscreenElement) {
      event.preventDefault();
      this.#onclose();
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const onButton = event.target.matches("button");
    const commands = {
      ArrowLeft: () => this.#go(-1),
      ArrowRight: () => this.#go(1),
      ArrowUp: () => this.#goToCandidate(-1),
      ArrowDown: () => this.#goToCandidate(1),
      " ": onButton ? null : () => this.#comparer.flip(),
      c: () => (this.#comparer.mode = "compare"),
      d: () => this.#comparer.toggleDifference(),
      f: () => this.#fullscreen(),
      "+": () => this.#comparer.zoom(1),
      "=": () => this.#comparer.zoom(1),
      "-": () => this.#comparer.zoom(-1),
      0: () => this.#comparer.zoom("fit"),
      1: () => this.#comparer.actualPixels(),
    };
    const command = commands[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!command) return;
    event.preventDefault();
    command();
  }

  #go(by) {
    const { turns } = this.#view;
    const place = turns.findIndex((turn) => turn.steps.includes(this.#selected)) + by;
    if (turns[place]) this.select(turns[place].lead);
  }

  #goToCandidate(by) {
    const turn = this.#view.turns.find((each) => each.steps.includes(this.#selected));
    const next = turn?.steps[turn.steps.indexOf(this.#selected) + by];
    if (next !== undefined) this.select(next);
  }
}

/** A button that the mouse does not leave the focus on, so that the space bar goes on flipping. */
function tool(attributes, ...children) {
  const onmousedown = (event) => event.preventDefault();
  return element("button", { type: "button", class: "rt-tool", onmousedown, ...attributes }, ...children);
}

function bestBadge(record, step, index) {
  if (!isJudged(step)) return element("span", { class: "rt-badge rt-unjudged" }, icon("question"), "Result, not judged");
  return element("span", { class: "rt-badge" }, icon("star"), record.chosen === index ? "Accepted by you" : "Best");
}

const part = (title, ...children) => element("section", { class: "rt-part" }, element("h3", {}, title), ...children);

function bar(name, value) {
  return element(
    "div",
    { class: "rt-bar", "data-level": levelOf(value), style: `--share:${value / 10}` },
    element("span", {}, name),
    element("i", { "aria-hidden": "true" }),
    element("b", {}, number(value)),
  );
}

function checklist(demands) {
  const kinds = { true: ["check", "met"], false: ["cross", "not met"], null: ["question", "not verified"] };
  const line = ({ text, met }) => {
    const [mark, said] = kinds[met];
    return element(
      "li",
      { "data-met": String(met) },
      icon(mark),
      element("span", { class: "rt-hidden" }, `${said}: `),
      text,
    );
  };
  return element("ul", { class: "rt-checklist" }, demands.map(line));
}

function preserved({ changed, outside_psnr: psnr }) {
  if (changed >= 0.999) return "The whole picture has changed.";
  return `${number(100 * changed)} % of the picture has changed; the rest is at ${number(psnr)} dB PSNR.`;
}

const seconds = (value) => (value < 10 ? Number(value.toPrecision(2)) : Math.round(value));

/** What an edit was really sampled with. */
function used({ steps, sampler, text_guidance: text, image_guidance: image, strength, negative }) {
  return [
    steps && `${steps} steps`,
    sampler && sampler !== "default" && sampler,
    text && `text guidance ${readable(text)}`,
    image && `image guidance ${readable(image)}`,
    strength && `strength ${readable(strength)}`,
    negative && `not “${negative}”`,
  ].filter(Boolean);
}

const readable = (value) => String(Math.round(value * 100) / 100);

function facts(step) {
  const parts = [`seed ${step.seed}`, ...used(step.settings ?? {})];
  if (step.edit_seconds) parts.push(`edited in ${seconds(step.edit_seconds)} s`);
  if (step.think_seconds) parts.push(`judged in ${seconds(step.think_seconds)} s`);
  if (step.judge && step.critique.semantic !== null) {
    parts.push(`the thinker itself gave ${number(step.critique.semantic)} / ${number(step.critique.quality)}`);
  }
  return parts.join(" · ");
}

function keys() {
  const known = {
    "← →": "turns",
    "↑ ↓": "candidates",
    space: "source or result",
    c: "compare",
    d: "difference",
    "+ − 0 1": "zoom",
    f: "fullscreen",
  };
  return Object.entries(known).map(([key, does]) => element("span", {}, element("kbd", {}, key), ` ${does}`));
}
