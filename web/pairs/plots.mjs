/**
 * The plots on Filter Edit Pairs: how the pairs scored, and draggable thresholds. The server counts from the scores alone.
 */

import { api, captureWorkflow } from "../comfyui.mjs";
import { element, svgElement } from "../viewer/dom.mjs";
import { plural } from "../viewer/trajectory.mjs";
import { captureScroll, captureWheel } from "../viewer/wheel.mjs";
import { PairsApi } from "./api.mjs";
import { formatThreshold, histogramOf, roundThreshold } from "./histogram.mjs";

/** @typedef {{threshold: string, above: boolean, bins: import("./histogram.mjs").Bin[]}} Plot above: what is kept */
/**
 * @typedef {{key: string, plots: Plot[], limits: Record<string, number>}} FilterData limits: those that were applied
 */

const COUNT_DELAY = 150; // milliseconds without a change before the server is asked
const HEIGHT = 36; // of a plot, in its own units
const STEPS = 400; // of a slider

export class Plots {
  /** @type {FilterData | null} */
  #data = null;
  /** @type {Map<string, (threshold: number) => void>} threshold → moves its plot */
  #updates = new Map();
  /** @type {WeakSet<ComfyWidget>} */
  #followedWidgets = new WeakSet();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Record<string, number> | null} the thresholds that the server was asked about last */
  #counting = null;
  #summary = element("span", { class: "rethink-summary", role: "status" });
  #note = element("span", { class: "rethink-note" });
  #rows = element(
    "div",
    { class: "rethink-plots", tabindex: "-1" },
    emptyText("The plots of the scores appear here after the workflow has run."),
  );
  #reasons = element("ul", { class: "rethink-reasons", tabindex: "0", "aria-label": "Why pairs were rejected" });
  element = element(
    "div",
    { class: "rethink-pairs" },
    element("div", { class: "rethink-bar" }, this.#summary, this.#note),
    this.#rows,
    this.#reasons,
  );

  /** @param {ComfyNode} node */
  constructor(node) {
    this.node = node;
    captureScroll(this.#reasons);
  }

  /** @param {FilterData} data */
  show(data) {
    this.#data = data;
    this.#updates.clear();
    this.#rows.replaceChildren(...data.plots.map((plot) => this.#plotRow(plot, data.limits[plot.threshold])));
    for (const threshold of Object.keys(data.limits)) this.#followWidget(threshold);
    if (!data.plots.length) this.#rows.append(emptyText("The pairs do not differ in any score."));
    return this.#count();
  }

  /** @param {string} threshold */
  #widgetOf(threshold) {
    return this.node.widgets?.find((widget) => widget.name === threshold);
  }

  /** Typing into a number field moves its plot, too. @param {string} threshold */
  #followWidget(threshold) {
    const widget = this.#widgetOf(threshold);
    if (!widget || this.#followedWidgets.has(widget)) return;
    this.#followedWidgets.add(widget);
    const { callback } = widget;
    widget.callback = (value, ...rest) => {
      const result = callback?.call(widget, value, ...rest);
      this.#updates.get(threshold)?.(Number(value));
      this.#countSoon();
      return result;
    };
  }

  /** @param {Plot} plot @param {number} limit that was applied */
  #plotRow({ threshold, above, bins }, limit) {
    const widget = this.#widgetOf(threshold);
    const { low, high, bars } = histogramOf(bins, limit);
    const rects = bars.map(({ left, width, height }) =>
      svgElement("rect", { x: left, y: HEIGHT * (1 - height), width, height: HEIGHT * height }),
    );
    const viewport = { viewBox: `0 0 1 ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
    const line = element("span", { class: "rethink-line", "aria-hidden": "true" });
    const label = threshold.replaceAll("_", " ");
    const output = element("output");
    const slider = this.#slider(label, { low, high }, widget);
    /** @param {number} value */
    const update = (value) => {
      slider.value = String(value);
      line.style.left = `${(100 * (value - low)) / (high - low)}%`;
      output.textContent = formatThreshold(value, above);
      bars.forEach(({ middle }, index) => {
        rects[index].classList.toggle("rethink-out", above ? middle < value : middle > value);
      });
    };
    this.#updates.set(threshold, update);
    update(Number(widget?.value ?? limit));
    const drawing = svgElement("svg", viewport, ...rects);
    return element(
      "label",
      { class: "rethink-plot" },
      element("span", {}, label),
      element("div", { class: "rethink-drawing" }, drawing, line, slider),
      output,
    );
  }

  /**
   * @param {string} label
   * @param {{low: number, high: number}} scale
   * @param {ComfyWidget} [widget] whose value it moves
   */
  #slider(label, scale, widget) {
    const slider = element("input", {
      type: "range",
      min: scale.low,
      max: scale.high,
      step: (scale.high - scale.low) / STEPS,
      "aria-label": `${label} threshold`,
      disabled: !widget,
      oninput: () => {
        if (!widget) return;
        widget.value = roundThreshold(Number(slider.value), scale, widget.options ?? {});
        widget.callback?.(widget.value);
        this.node.setDirtyCanvas(true); // the classic canvas draws its number fields on request only
      },
      onchange: captureWorkflow,
      onpointerdown: (event) => event.stopPropagation(),
      onpointermove: (event) => event.stopPropagation(),
    });
    captureWheel(slider, (event) => event.stopPropagation()); // scrolling over a threshold must not zoom the canvas
    return slider;
  }

  /** What the number fields say now. @param {FilterData} data */
  #thresholds({ limits }) {
    const rows = Object.entries(limits).map(([threshold, limit]) => [
      threshold,
      this.#widgetOf(threshold)?.value ?? limit,
    ]);
    return Object.fromEntries(rows);
  }

  #countSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#count(), COUNT_DELAY);
  }

  async #count() {
    const data = this.#data;
    if (!data) return;
    const thresholds = this.#thresholds(data);
    this.#counting = thresholds;
    const moved = Object.keys(thresholds).some((threshold) => thresholds[threshold] !== data.limits[threshold]);
    try {
      const preview = await new PairsApi(api.apiURL(""), data.key).previewThresholds(thresholds);
      if (thresholds !== this.#counting) return; // a slider has moved on since
      const { accepted, rejected, why } = preview;
      this.#summary.textContent = `${accepted.toLocaleString()} of ${plural(accepted + rejected, "pair")} kept`;
      this.#note.textContent = moved ? "queue again to apply" : "";
      this.#reasons.replaceChildren(
        ...why.map(([reason, count]) => element("li", {}, element("b", {}, count.toLocaleString()), ` ${reason}`)),
      );
    } catch (error) {
      this.#summary.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  remove() {
    clearTimeout(this.#timer);
  }
}

/** @param {string} text */
const emptyText = (text) => element("p", { class: "rethink-empty" }, text);
