/** What Train Edit LoRA shows: numbers, the plot, the images of every save. */

import { element, setAttribute } from "../viewer/dom.mjs";
import { Chart } from "./chart.mjs";
import { Previews } from "./previews.mjs";
import { describeEnd, numbersOf, previewedSaves } from "./record.mjs";

/** @typedef {import("./record.mjs").Training} Training */

/**
 * A training as this page knows it. view: null before the first step. line: its current activity, while it runs.
 *
 * @typedef {{view: Training | null, live: boolean, line: string, address: (file: string) => string}} TrainingState
 */

const IDLE_TEXT = "The losses and the images of every save appear here, live during training.";
const MISSING_TEXT = "The record of this training is no longer in its folder.";

export class TrainingView {
  /** @type {TrainingState | null} */
  #state = null;
  #selected = 0; // the step of the save in view
  #following = true; // whether to follow the newest save and, at the end, go to the best
  #numbers = element("dl", { class: "rethink-numbers" });
  #line = element("p", { class: "rethink-line-now", role: "status" });
  #chart = new Chart((step) => this.#select(step));
  #previews;
  #end = element("p", { class: "rethink-end" });
  #idle = element("p", { class: "rethink-empty" }, IDLE_TEXT);
  element;

  /** @param {(() => void) | null} [onopen] the user wants to see it large */
  constructor(onopen = null) {
    this.#previews = new Previews({ onselect: (step) => this.#select(step), onopen });
    this.element = element(
      "div",
      { class: "rethink-training" },
      this.#idle,
      this.#line,
      this.#numbers,
      this.#chart.element,
      this.#previews.element,
      this.#end,
    );
    this.clear();
  }

  get state() {
    return this.#state;
  }

  get selected() {
    return this.#selected;
  }

  /** @param {TrainingState} state @param {number} [selected] the step of the save to look at */
  show(state, selected) {
    if (!this.#state) this.#following = true;
    this.#state = state;
    if (selected) {
      this.#selected = selected;
      this.#following = false;
    }
    this.#draw();
  }

  clear(text = IDLE_TEXT) {
    this.#state = null;
    this.#selected = 0;
    this.#idle.textContent = text;
    this.#draw();
  }

  showMissing() {
    this.clear(MISSING_TEXT);
  }

  /** @param {number} step of a save */
  #select(step) {
    this.#selected = step;
    const saves = this.#state?.view ? previewedSaves(this.#state.view) : [];
    this.#following = Boolean(this.#state?.live) && step === saves.at(-1)?.step;
    this.#draw();
  }

  #draw() {
    const { view = null, live = false, line = "", address = String } = this.#state ?? {};
    const drawn = view?.curves.smooth.length ? view : null;
    setAttribute(this.#idle, "hidden", Boolean(drawn || (live && line)));
    setAttribute(this.#line, "hidden", !live || !line);
    this.#line.textContent = line;
    for (const part of [this.#numbers, this.#chart.element, this.#end]) setAttribute(part, "hidden", !drawn);
    if (!drawn) setAttribute(this.#previews.element, "hidden", true);
    if (!drawn) return;
    const saves = previewedSaves(drawn);
    const known = saves.some(({ step }) => step === this.#selected);
    if (this.#following || !known) {
      const best = saves.find(({ step }) => step === drawn.best);
      this.#selected = ((live ? null : best) ?? saves.at(-1))?.step ?? 0;
    }
    this.#numbers.replaceChildren(
      ...numbersOf(drawn, live).map(([name, text]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, text)),
      ),
    );
    this.#chart.show(drawn, this.#selected);
    this.#previews.show(drawn, this.#selected, address);
    this.#end.textContent = describeEnd(drawn, live);
    setAttribute(this.#end, "data-trouble", !live && Boolean(drawn.stopped));
  }
}
