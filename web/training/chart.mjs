/** The plot of a training: losses of training and of held-out pairs, and the learning rate below them. */

import { element, svgElement } from "../viewer/dom.mjs";
import {
  formatLoss,
  formatRate,
  nearestStep,
  pointsOf,
  rangeOf,
  scaleOf,
  stairsOf,
  ticksOf,
  valueAt,
} from "./plot.mjs";
import { heldOutCurve, previewedSaves } from "./record.mjs";

/** @typedef {import("./record.mjs").Training} Training */
/** @typedef {import("./plot.mjs").Scale} Scale */

const [WIDTH, HEIGHT] = [480, 176]; // in the plot's own units
const LOSSES = { left: 44, right: WIDTH - 8, top: 6, bottom: 128 };
const RATES = { left: 44, right: WIDTH - 8, top: 140, bottom: 158 };
const STAR = "M0-6 1.8-1.9 6.2-1.5 2.9 1.4 3.9 5.7 0 3.4-3.9 5.7-2.9 1.4-6.2-1.5-1.8-1.9Z";

export class Chart {
  /** @type {Training | null} */
  #training = null;
  /** @type {Scale | null} */
  #scale = null;
  #onselect;
  #guide = svgElement("path", { class: "rethink-guide" });
  #drawing = svgElement("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: "rethink-chart",
    role: "img",
    "aria-label": "losses and learning rate by step",
  });
  #legend = element("div", { class: "rethink-legend" });
  element = element("div", {}, this.#drawing, this.#legend);

  /** @param {(step: number) => void} onselect the user clicks a save */
  constructor(onselect) {
    this.#onselect = onselect;
    this.#drawing.addEventListener("pointermove", (event) => this.#pointAt(this.#stepAt(event)));
    this.#drawing.addEventListener("pointerleave", () => this.#pointAt(null));
    this.#drawing.addEventListener("click", (event) => this.#choose(this.#stepAt(event)));
  }

  /** @param {Training} training @param {number} selected the step of the save in view */
  show(training, selected) {
    this.#training = training;
    const { curves, step, steps, best } = training;
    const heldOut = heldOutCurve(training);
    const bounds = rangeOf([...curves.smooth, ...heldOut].map(([, value]) => value));
    const scale = (this.#scale = scaleOf(LOSSES, Math.max(step, steps), bounds));
    const dots = heldOut.map(([at, value]) =>
      svgElement("path", {
        class: `rethink-dot${at === selected ? " rethink-chosen" : ""}`,
        d: at === best ? STAR : "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0",
        transform: `translate(${scale.x(at).toFixed(1)} ${scale.y(value).toFixed(1)})`,
      }),
    );
    this.#drawing.replaceChildren(
      ...axis(scale, bounds),
      line("rethink-raw", pointsOf(curves.raw, scale)),
      line("rethink-smooth", pointsOf(curves.smooth, scale)),
      line("rethink-held", pointsOf(heldOut, scale)),
      ...dots,
      ...this.#rates(training),
      text(LOSSES.left, HEIGHT - 4, "1", "start"),
      text(LOSSES.right, HEIGHT - 4, `step ${Math.max(step, steps)}`, "end"),
      this.#guide,
    );
    this.#pointAt(null);
  }

  /** @param {Training} training */
  #rates({ curves: { rates }, step, steps }) {
    if (!rates.length) return [];
    const top = Math.max(...rates.map(([, rate]) => rate));
    const scale = scaleOf(RATES, Math.max(step, steps), [0, top * 1.15 || 1]);
    return [
      svgElement("path", { class: "rethink-axis", d: `M${RATES.left} ${RATES.bottom}H${RATES.right}` }),
      line("rethink-rate", pointsOf(stairsOf(rates, step), scale)),
      text(RATES.left - 5, scale.y(top) + 4, formatRate(top), "end"),
    ];
  }

  /** Show the legend, or the values at a step. @param {number | null} step */
  #pointAt(step) {
    const training = this.#training;
    if (!training) return;
    const at = step === null ? null : Math.min(training.step, Math.max(1, step));
    const { smooth, rates } = training.curves;
    const x = at === null ? null : this.#scale?.x(at);
    this.#guide.setAttribute("d", x === null || x === undefined ? "" : `M${x} ${LOSSES.top}V${RATES.bottom}`);
    const save =
      at === null
        ? undefined
        : nearestStep(
            heldOutCurve(training).map(([each]) => each),
            at,
          );
    const heldOut = heldOutCurve(training).find(([each]) => each === save)?.[1];
    /** @type {(kind: string, name: string, value: string | null | undefined) => HTMLElement} */
    const entry = (kind, name, value) => element("span", { class: kind }, value ? `${name} ${value}` : name);
    this.#legend.replaceChildren(
      ...(at === null ? [] : [element("b", {}, `step ${at}`)]),
      entry("rethink-smooth", "training loss", at === null ? "(smoothed)" : formatLoss(valueAt(smooth, at) ?? 0)),
      ...(heldOutCurve(training).length
        ? [entry("rethink-held", "held-out loss", heldOut === undefined ? "" : `${formatLoss(heldOut)} (step ${save})`)]
        : []),
      entry("rethink-rate", "learning rate", at === null ? "" : formatRate(valueAt(rates, at) ?? 0)),
    );
  }

  /** @param {MouseEvent} event */
  #stepAt(event) {
    const { left, width } = this.#drawing.getBoundingClientRect();
    return this.#scale?.stepAt(((event.clientX - left) / width) * WIDTH) ?? 1;
  }

  /** @param {number} step */
  #choose(step) {
    const save =
      this.#training &&
      nearestStep(
        previewedSaves(this.#training).map((each) => each.step),
        step,
      );
    if (save) this.#onselect(save);
  }
}

/** @param {string} kind @param {string} points */
const line = (kind, points) => svgElement("polyline", { class: kind, points });

/** @param {number} x @param {number} y @param {string} words @param {"start" | "end"} anchor */
const text = (x, y, words, anchor) =>
  svgElement("text", { x, y, "text-anchor": anchor }, document.createTextNode(words));

/** @param {Scale} scale @param {[number, number]} bounds */
function axis(scale, bounds) {
  const { left, right, top, bottom } = LOSSES;
  const ticks = ticksOf(bounds);
  const lines = ticks.map((value) => `M${left} ${scale.y(value).toFixed(1)}H${right}`).join("");
  return [
    svgElement("path", { class: "rethink-axis", d: `M${left} ${top}V${bottom}H${right}${lines}` }),
    ...ticks.map((value) => text(left - 5, scale.y(value) + 4, formatLoss(value), "end")),
  ];
}
