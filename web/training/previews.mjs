/** The images of a training: what every save makes of some pairs, next to input, target and the editor alone. */

import { element, setAttribute } from "../viewer/dom.mjs";
import { captureScroll } from "../viewer/wheel.mjs";
import { describeScores, previewedSaves } from "./record.mjs";

/** @typedef {import("./record.mjs").Training} Training */
/** @typedef {import("./record.mjs").Shown} Shown */
/** @typedef {import("./record.mjs").Save} Save */

export class Previews {
  /** @type {Training | null} */
  #training = null;
  #onselect;
  #onopen;
  #slider = element("input", {
    type: "range",
    min: 0,
    step: 1,
    "aria-label": "which save",
    oninput: () => this.#choose(Number(this.#slider.value)),
    onpointerdown: (event) => event.stopPropagation(),
    onpointermove: (event) => event.stopPropagation(),
    onkeydown: (event) => event.stopPropagation(),
  });
  #ticks = element("div", { class: "rethink-ticks", "aria-hidden": "true" });
  #label = element("output", { class: "rethink-save" });
  #bar = element(
    "div",
    { class: "rethink-slider" },
    element("div", { class: "rethink-track" }, this.#slider, this.#ticks),
    this.#label,
  );
  /** @type {PairRow[]} */
  #pairs = [];
  #rows = element("div", { class: "rethink-rows", tabindex: "0", role: "list", "aria-label": "Held-out pairs" });
  element = element("div", { class: "rethink-previews" }, this.#bar, this.#rows);

  /**
   * @param {object} listeners
   * @param {(step: number) => void} listeners.onselect the user goes to a save
   * @param {(() => void) | null} [listeners.onopen] the user wants to see it large
   */
  constructor({ onselect, onopen = null }) {
    this.#onselect = onselect;
    this.#onopen = onopen;
    captureScroll(this.#rows);
  }

  /** @param {Training} training @param {number} selected @param {(file: string) => string} address of a file of the run */
  show(training, selected, address) {
    this.#training = training;
    const saves = previewedSaves(training);
    const place = saves.findIndex(({ step }) => step === selected);
    setAttribute(this.element, "hidden", !saves.length);
    if (place < 0) return;
    this.#slider.max = String(saves.length - 1);
    this.#slider.value = String(place);
    setAttribute(this.#slider, "disabled", saves.length < 2);
    setAttribute(this.#slider, "aria-valuetext", `step ${selected}`);
    this.#ticks.replaceChildren(...saves.map(({ step }) => element("i", {}, step === training.best ? "★" : "")));
    const star = selected === training.best ? " ★ best" : "";
    this.#label.replaceChildren(
      element("b", {}, `step ${selected}${star}`),
      element("small", {}, describeScores(saves[place].means)),
    );
    if (this.#pairs.length !== training.shown.length) {
      this.#pairs = training.shown.map(() => new PairRow(this.#onopen));
      this.#rows.replaceChildren(...this.#pairs.map((pair) => pair.element));
    }
    training.shown.forEach((shown, number) => this.#pairs[number].show(shown, saves[place], number, address));
  }

  /** @param {number} place */
  #choose(place) {
    const save = this.#training && previewedSaves(this.#training)[place];
    if (save) this.#onselect(save.step);
  }
}

/** The images of one pair. They stay in the page as long as their files do, to avoid flicker. */
class PairRow {
  #caption = element("p");
  #references = element("div", { class: "rethink-references" });
  #cells = ["input", "target", "editor alone", "save"].map(() => {
    const image = element("img", { alt: "", draggable: "false", decoding: "async", onload: keepPixels });
    const label = element("figcaption");
    return { image, label, figure: element("figure", {}, image, label) };
  });
  element;

  /** @param {(() => void) | null} onopen */
  constructor(onopen) {
    const figures = this.#cells.map(({ figure }) => figure);
    const four = element("div", { class: "rethink-four", onclick: () => onopen?.() }, figures);
    const attributes = { class: "rethink-row", role: "listitem", "data-opens": Boolean(onopen) };
    this.element = element("div", attributes, this.#caption, this.#references, four);
  }

  /** @param {Shown} shown @param {Save} save @param {number} number of the pair @param {(file: string) => string} address */
  show(shown, save, number, address) {
    this.#caption.textContent = this.#caption.title = shown.instruction;
    this.#showReferences((shown.references ?? []).map(address));
    this.#show(0, "input", address(shown.input));
    this.#show(1, "target", shown.target && address(shown.target)); // the user's own edit has none
    this.#show(2, "editor alone", address(shown.base), shown.scores);
    const file = save.previews[number];
    this.#show(3, `step ${save.step}`, file ? address(file) : "", save.scores[number]);
  }

  /** Small, because they are the same for all saves. @param {string[]} sources */
  #showReferences(sources) {
    const shown = [...this.#references.querySelectorAll("img")].map((image) => image.getAttribute("src"));
    if (sources.join() === shown.join()) return;
    const figures = sources.map((src, index) => {
      const name = `image ${index + 2}`; // as instructions call it
      return element("figure", {}, element("img", { src, alt: name }), element("figcaption", {}, name));
    });
    this.#references.replaceChildren(...figures);
  }

  /** @param {number} index @param {string} name @param {string} source @param {import("./record.mjs").Scores} [scores] */
  #show(index, name, source, scores) {
    const { image, label, figure } = this.#cells[index];
    if (image.getAttribute("src") !== source) setAttribute(image, "src", source || null);
    image.alt = label.textContent = name;
    figure.style.visibility = source ? "" : "hidden";
    figure.title = [name, describeScores(scores), scores?.note].filter(Boolean).join("\n");
  }
}

/** Show a small image pixelated. @param {Event} event */
function keepPixels({ target }) {
  if (target instanceof HTMLImageElement) target.classList.toggle("rethink-pixels", target.naturalWidth < 256);
}
