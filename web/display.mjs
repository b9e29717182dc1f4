/** What a node shows of a run: the strip and, while it runs, a bar for steering. */

import { element, setAttribute } from "./viewer/dom.mjs";
import { Steering } from "./viewer/steering.mjs";
import { Strip } from "./viewer/strip.mjs";
import { troubleOf } from "./viewer/trajectory.mjs";
import { firstChoice, summarize } from "./viewer/view.mjs";

/** @typedef {import("./runs.mjs").Run} Run */

const IDLE_TEXT = "The turns of a run appear here, live while it runs.";
const MISSING_TEXT = "The record of this run is no longer in its folder.";

export class Display {
  /** @type {Run | null} */
  run = null;
  /** @type {import("./comfyui.mjs").FileReference | null} the run to show once its record has loaded */
  target = null;
  /** @type {string | null} the key of the run on the page: of `run`, or of the one before it */
  #shownKey = null;
  #selected = -1; // index of a step
  #best = -1;
  #strip;
  #steering;
  #ending = element("p", { class: "rt-ending", role: "status" });
  #idle = element("div", { class: "rt-idle" }, IDLE_TEXT);
  #parts;
  element;

  /** @param {(display: Display) => void} onopen the user wants to see the run large */
  constructor(onopen) {
    this.#strip = new Strip({ onselect: (index) => this.#select(index), onopen: () => onopen(this) });
    this.#steering = new Steering({
      send: (order) => this.run?.send(order),
      onleave: () => this.#strip.element.focus(),
    });
    this.#parts = [this.#strip.element, this.#steering.element, this.#ending];
    this.element = element("div", { class: "rt rt-node" }, this.#idle, this.#parts);
    for (const part of this.#parts) setAttribute(part, "hidden", true);
  }

  get selected() {
    return this.#selected;
  }

  /** Show a run, or its new state. If the best turn was selected, a better one takes over the selection. @param {Run} run */
  show(run) {
    const { view } = run;
    if (this.#shownKey !== run.key || this.#selected === this.#best) this.#selected = firstChoice(view);
    this.run = run;
    this.#shownKey = run.key;
    this.#best = firstChoice(view);
    setAttribute(this.#idle, "hidden", true);
    setAttribute(this.#strip.element, "hidden", false);
    setAttribute(this.#ending, "hidden", Boolean(view.live));
    this.#ending.replaceChildren(...summarize(view));
    setAttribute(this.#ending, "data-trouble", !view.live && troubleOf(view.record) !== "");
    this.#strip.show(view, this.#selected);
    this.#steering.show(view, this.#selected);
  }

  showMissing() {
    this.clear(MISSING_TEXT);
  }

  /** Show no run. */
  clear(text = IDLE_TEXT) {
    this.run = this.target = this.#shownKey = null;
    this.#idle.textContent = text;
    setAttribute(this.#idle, "hidden", false);
    for (const part of this.#parts) setAttribute(part, "hidden", true);
  }

  /** @param {number} index of a step */
  select(index) {
    this.#strip.select(index);
    this.#select(index);
  }

  /** @param {number} index of a step */
  #select(index) {
    this.#selected = index;
    if (this.run) this.#steering.show(this.run.view, index);
  }
}
