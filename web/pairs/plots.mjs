// The plots on Filter Edit Pairs: how the pairs scored, and thresholds to drag. The server counts, from the scores alone.
import { api } from "../../../scripts/api.js";
import { ownScroll, ownWheel } from "../viewer/wheel.mjs";
import { element, Pairs, plural } from "./element.mjs";

const PAUSE = 150; // milliseconds of rest before the server is asked
const HEIGHT = 36; // of a plot, in its own units

export class Plots {
  constructor(node) {
    this.node = node;
    this.followers = new Map(); // threshold → what its value moves
    this.followed = new WeakSet(); // widgets
    this.summary = element("span.rethink-summary", { role: "status" });
    this.note = element("span.rethink-note");
    this.rows = element("div.rethink-plots", { tabindex: "-1" });
    this.reasons = element("ul.rethink-reasons", { tabindex: "0", "aria-label": "Why pairs were rejected" });
    this.element = element(
      "div.rethink-pairs", {}, element("div.rethink-bar", {}, this.summary, this.note), this.rows, this.reasons,
    );
    ownScroll(this.reasons);
    this.rows.append(element("p.rethink-empty", {}, "How the pairs scored appears here when the workflow has run."));
  }

  /** shown: {"key", "plots": [{"threshold", "above", "bins"}], "limits": {threshold: value that was applied}} */
  show(shown) {
    this.shown = shown;
    this.pairs = new Pairs(api.apiURL(""), shown.key);
    this.followers.clear();
    this.rows.replaceChildren(...shown.plots.map((plot) => this.#row(plot)));
    for (const name of Object.keys(shown.limits)) this.#follow(name);
    if (!shown.plots.length) this.rows.append(element("p.rethink-empty", {}, "There is no score in which the pairs differ."));
    return this.#count();
  }

  #widget(name) {
    return this.node.widgets?.find((widget) => widget.name === name);
  }

  /** What is typed into a number field moves the plots, too. */
  #follow(name) {
    const widget = this.#widget(name);
    if (!widget || this.followed.has(widget)) return;
    this.followed.add(widget);
    const before = widget.callback;
    widget.callback = (value, ...rest) => {
      const result = before?.call(widget, value, ...rest);
      for (const update of this.followers.get(name) ?? []) update(Number(value));
      this.#countSoon();
      return result;
    };
  }

  #row(plot) {
    const widget = this.#widget(plot.threshold);
    const { low, high, bars } = scaled(plot.bins, this.shown.limits[plot.threshold]);
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("viewBox", `0 0 1 ${HEIGHT}`);
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.setAttribute("aria-hidden", "true");
    const rects = bars.map(({ left, width, height }) => {
      const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of Object.entries({ x: left, y: HEIGHT * (1 - height), width, height: HEIGHT * height }))
        rect.setAttribute(name, value);
      drawing.append(rect);
      return rect;
    });
    const value = element("output");
    const name = plot.threshold.replaceAll("_", " ");
    const slider = element("input", {
      type: "range", min: low, max: high, step: (high - low) / 400, "aria-label": `threshold of ${name}`, disabled: !widget,
    });
    const line = element("span.rethink-line", { "aria-hidden": "true" });
    const update = (threshold) => {
      slider.value = threshold;
      line.style.left = `${(100 * (threshold - low)) / (high - low)}%`;
      value.textContent = `${plot.above ? "≥" : "≤"} ${readable(threshold)}`;
      bars.forEach(({ middle }, index) => rects[index].classList.toggle("rethink-out", plot.above ? middle < threshold : middle > threshold));
    };
    slider.addEventListener("input", () => {
      const { min = low, max = high, precision = 4 } = widget.options ?? {};
      const places = Math.min(precision, Math.max(0, 3 - Math.floor(Math.log10(high - low))));
      const rounded = Number(Math.min(max, Math.max(min, slider.value)).toFixed(places));
      widget.value = rounded;
      widget.callback(rounded);
      this.node.setDirtyCanvas(true); // the classic canvas draws its number fields when told
    });
    ownWheel(slider, (event) => event.stopPropagation()); // who aims at a threshold does not mean the canvas
    for (const kind of ["pointerdown", "pointermove"]) slider.addEventListener(kind, (event) => event.stopPropagation());
    this.followers.set(plot.threshold, [...(this.followers.get(plot.threshold) ?? []), update]);
    update(Number(widget?.value ?? this.shown.limits[plot.threshold]));
    return element("label.rethink-plot", {}, element("span", {}, name), element("div.rethink-drawing", {}, drawing, line, slider), value);
  }

  #thresholds() {
    const names = Object.keys(this.shown.limits);
    return Object.fromEntries(names.map((name) => [name, this.#widget(name)?.value ?? this.shown.limits[name]]));
  }

  #countSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#count(), PAUSE);
  }

  async #count() {
    const wanted = (this.wanted = this.#thresholds());
    const moved = Object.keys(wanted).some((name) => wanted[name] !== this.shown.limits[name]);
    try {
      const { accepted, rejected, why } = await this.pairs.tried(wanted);
      if (wanted !== this.wanted) return; // a slider has moved on since
      this.summary.textContent = `${accepted.toLocaleString()} of ${plural(accepted + rejected, "pair")} kept`;
      this.note.textContent = moved ? "queue again to apply" : "";
      this.reasons.replaceChildren(...why.map(([reason, count]) => element("li", {}, element("b", {}, count.toLocaleString()), ` ${reason}`)));
    } catch (error) {
      this.summary.textContent = error.message;
    }
  }

  remove() {
    clearTimeout(this.timer);
  }
}

/** Bins on a scale 0…1 that has the threshold on it, their heights by the square root: few pairs are seen beside many. */
function scaled(bins, threshold) {
  const step = bins[1][0] - bins[0][0];
  const edges = [bins[0][0], bins.at(-1)[0] + step];
  const spare = 0.02 * (Math.max(edges[1], threshold) - Math.min(edges[0], threshold));
  const low = Math.min(edges[0], threshold) - spare;
  const high = Math.max(edges[1], threshold) + spare;
  const most = Math.max(...bins.map(([, count]) => count));
  const bars = bins.map(([edge, count]) => ({
    left: (edge - low) / (high - low), width: (0.92 * step) / (high - low), height: Math.sqrt(count / most), middle: edge + step / 2,
  }));
  return { low, high, bars };
}

const readable = (value) => String(Number(value.toPrecision(3)));
