/** One edit enlarged, against its source: at actual pixels, flipped, or as a difference. */

import { Comparer, MODES } from "../viewer/comparer.mjs";
import { element } from "../viewer/dom.mjs";
import { formatScore, formatSeconds } from "./record.mjs";

/** @typedef {import("./record.mjs").Comparison} Comparison */
/** @typedef {import("../viewer/comparer.mjs").Mode} Mode */

export class ZoomView {
  #comparison;
  #comparer = new Comparer((mode) => this.#showMode(mode));
  #title = element("h2", { class: "cp-zoom-title" });
  #facts = element("p", { class: "cp-faint" });
  #modes = element("div", { class: "rt-modes", role: "group", "aria-label": "What to show" });
  #task = 0;
  #variant = 0;
  /** @type {string[]} ids of the tasks in the order of the grid */
  #order = [];
  element;

  /** @param {Comparison} comparison */
  constructor(comparison) {
    this.#comparison = comparison;
    for (const mode of /** @type {Mode[]} */ (Object.keys(MODES))) {
      const onclick = () => {
        this.#comparer.mode = mode;
      };
      this.#modes.append(
        element("button", { type: "button", class: "rt-tool", "data-mode": mode, onclick }, MODES[mode]),
      );
    }
    const close = element(
      "button",
      { type: "button", class: "cp-button", onclick: () => this.element.close() },
      "Close",
    );
    this.element = element(
      "dialog",
      { class: "cp-zoom", "aria-label": "Enlarged edit", onkeydown: (event) => this.#handleKey(event) },
      element("header", {}, element("div", { class: "cp-zoom-text" }, this.#title, this.#facts), this.#modes, close),
      this.#comparer.element,
      element(
        "p",
        { class: "cp-keys" },
        "← → editors · ↑ ↓ tasks · space source or result · d difference · + − 0 1 zoom · Esc",
      ),
    );
    this.#showMode(this.#comparer.mode);
  }

  /** @param {string} task @param {string} variant @param {string[]} order of the tasks' ids */
  open(task, variant, order) {
    this.#order = order;
    this.#task = order.indexOf(task);
    this.#variant = this.#comparison.variants.findIndex(({ key }) => key === variant);
    this.#draw();
    if (!this.element.open) this.element.showModal();
  }

  async #draw() {
    const [comparison, task] = [this.#comparison, this.#comparison.task(this.#order[this.#task])];
    const variant = comparison.variants[this.#variant];
    const edit = task && comparison.edit(task.id, variant.key);
    if (!task || !edit) return;
    this.#title.textContent = `${variant.name}: ${task.instruction}`;
    const scores = comparison.measures.map((each) => `${each.title} ${formatScore(edit.scores[each.id], each)}`);
    const facts = [`${edit.size.join(" × ")} pixels`, formatSeconds(edit.seconds), ...scores];
    this.#facts.textContent = facts.join(" · ");
    const place = this.#place;
    const [source, result] = await Promise.all([comparison.addressOf(task.file), comparison.addressOf(edit.file)]);
    if (place !== this.#place) return; // another one has been requested meanwhile
    const side = comparison.record.side;
    if (side && Math.max(...edit.size) > side && result.startsWith("data:"))
      this.#facts.textContent += ` · shown ${side} pixels on the longer side; the full size is in ${edit.file}`;
    this.#comparer.show(source, result, variant.name, `${variant.name}: ${task.instruction}`);
  }

  /** What is shown, or is about to be. */
  get #place() {
    return `${this.#order[this.#task]} ${this.#variant}`;
  }

  /** Go to another task, and the next variant that has an edit of it. @param {number} tasks @param {number} variants */
  #move(tasks, variants) {
    const count = this.#comparison.variants.length;
    const task = Math.min(this.#order.length - 1, Math.max(0, this.#task + tasks));
    let variant = this.#variant;
    for (let step = 0; step < count; step++) {
      if (step || variants) variant = (variant + (variants || 1) + count) % count;
      if (this.#comparison.edit(this.#order[task], this.#comparison.variants[variant].key)) {
        [this.#task, this.#variant] = [task, variant];
        break;
      }
    }
    this.#draw();
  }

  /** @param {Mode} mode */
  #showMode(mode) {
    for (const tool of this.#modes.children)
      tool.setAttribute("aria-pressed", String(tool instanceof HTMLElement && tool.dataset.mode === mode));
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    /** @type {Record<string, () => void>} */
    const commands = {
      ArrowLeft: () => this.#move(0, -1),
      ArrowRight: () => this.#move(0, 1),
      ArrowUp: () => this.#move(-1, 0),
      ArrowDown: () => this.#move(1, 0),
      " ": () => this.#comparer.flip(),
      d: () => this.#comparer.toggleDifference(),
      "+": () => this.#comparer.zoomIn(),
      "-": () => this.#comparer.zoomOut(),
      0: () => this.#comparer.zoomToFit(),
      1: () => this.#comparer.zoomToActualPixels(),
    };
    const command = commands[event.key];
    if (!command || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target instanceof HTMLElement && event.target.matches("button:focus-visible"))
      return;
    event.preventDefault();
    command();
  }
}
