/** Source and result on top of each other, at a scale where a pixel of theirs is a whole number of the screen's. */

import { drawDifference, FULL, legend } from "./difference.mjs";
import { element, framed, icon, setAttribute } from "./dom.mjs";

export const MODES = { compare: "Compare", source: "Source", result: "Result", difference: "Difference" };
const SCALES = [1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]; // screen pixels a pixel
const MARGIN = 0.03; // of the stage, left free on every side of a picture that fits

export class Comparer {
  #before = element("img", { class: "rt-picture", alt: "", draggable: "false" });
  #after = element("img", { class: "rt-picture", alt: "", draggable: "false" });
  #canvas = element("canvas", { class: "rt-picture" });
  #plane = element("div", { class: "rt-plane" }, this.#before, this.#after, this.#canvas);
  #divider = element(
    "div",
    {
      class: "rt-divider",
      role: "slider",
      tabindex: 0,
      "aria-label": "How much of the result shows",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      onkeydown: (event) => this.#moveByKey(event),
      onpointerdown: (event) => this.#wipe(event),
    },
    element("span", { class: "rt-grip" }),
  );
  #sourceLabel = element("span", { class: "rt-label rt-label-source" }, "Source");
  #resultLabel = element("span", { class: "rt-label rt-label-result" });
  #legend = element(
    "div",
    { class: "rt-legend" },
    element("i", { class: "rt-unchanged" }),
    "unchanged",
    element("i", { style: `background:${legend}` }),
    `up to ${FULL} of 255 and more`,
  );
  #note = element("div", { class: "rt-note", role: "status" });
  #scaleText = element("output", { class: "rt-scale", "aria-label": "Scale" });
  #stage;
  #mode = "compare";
  #otherwise = "compare";
  #share = 0.5;
  #scale = null; // screen pixels a pixel; null: as large as fits
  #center = { x: 0.5, y: 0.5 }; // the place of the picture in the middle of the stage
  #drawn = ""; // which two pictures the difference map shows
  #onmode;

  /** onmode(mode): the mode has changed, by whatever means. */
  constructor(onmode) {
    this.#onmode = onmode;
    this.#stage = element(
      "div",
      { class: "rt-stage", onwheel: (event) => this.#wheel(event), onpointerdown: (event) => this.#pan(event) },
      this.#plane,
      this.#divider,
      this.#sourceLabel,
      this.#resultLabel,
      this.#legend,
      this.#note,
      this.#zoomButtons(),
    );
    for (const image of [this.#before, this.#after]) {
      image.addEventListener("load", () => this.#loaded());
      image.addEventListener("error", () => this.#missing(image));
    }
    new ResizeObserver(framed(() => this.#layout())).observe(this.#stage);
  }

  get element() {
    return this.#stage;
  }

  get mode() {
    return this.#mode;
  }

  set mode(mode) {
    if (mode === "difference" && this.#mode !== "difference") this.#otherwise = this.#mode;
    this.#mode = mode;
    this.#layout();
    this.#onmode(mode);
  }

  /** Show two pictures by their addresses. name: what the result is called; alt: what it is. */
  show(source, result, name, alt) {
    this.#resultLabel.textContent = name;
    this.#after.alt = alt;
    this.#before.alt = "The source picture";
    const change = (image, address) => {
      if (image.getAttribute("src") !== address) image.src = address;
    };
    change(this.#before, source);
    change(this.#after, result);
    this.#layout();
  }

  flip() {
    this.mode = this.#mode === "source" ? "result" : "source";
  }

  toggleDifference() {
    this.mode = this.#mode === "difference" ? this.#otherwise : "difference";
  }

  /** The next scale up (1) or down (−1); "fit", or a number of screen pixels a pixel. */
  zoom(to, at = null) {
    const now = this.#shownScale();
    let next = to;
    if (to === "fit") next = null;
    else if (to === 1) next = SCALES.find((scale) => scale > now * 1.001) ?? now;
    else if (to === -1) next = SCALES.findLast((scale) => scale < now * 0.999) ?? now;
    this.#zoomTo(next, at);
  }

  actualPixels() {
    this.#zoomTo(1, null);
  }

  #zoomTo(next, at) {
    const place = at && this.#placeOf(at);
    this.#scale = next;
    if (next === null) this.#center = { x: 0.5, y: 0.5 };
    else if (place) {
      const now = this.#placeOf(at); // what was under the pointer stays under it
      this.#center = { x: this.#center.x + place.x - now.x, y: this.#center.y + place.y - now.y };
    }
    this.#layout();
  }

  #zoomButtons() {
    const button = (label, name, onclick) =>
      element("button", { type: "button", class: "rt-tool", "aria-label": label, title: label, onclick }, icon(name));
    return element(
      "div",
      { class: "rt-zoom", onpointerdown: (event) => event.stopPropagation() },
      button("Zoom out (−)", "minus", () => this.zoom(-1)),
      this.#scaleText,
      button("Zoom in (+)", "plus", () => this.zoom(1)),
      element("button", { type: "button", class: "rt-tool", title: "Fit (0)", onclick: () => this.zoom("fit") }, "Fit"),
      element(
        "button",
        { type: "button", class: "rt-tool", title: "One pixel a pixel (1)", onclick: () => this.actualPixels() },
        "1:1",
      ),
    );
  }

  #size() {
    return { width: this.#before.naturalWidth, height: this.#before.naturalHeight };
  }

  /** Screen pixels a pixel. What fits enlarged is enlarged by a whole number, so that no pixel is wider than another. */
  #shownScale() {
    if (this.#scale !== null) return this.#scale;
    const { width, height } = this.#size();
    const room = (side) => Math.max(1, side * (1 - 2 * MARGIN) * devicePixelRatio);
    const fits = Math.min(room(this.#stage.clientWidth) / width, room(this.#stage.clientHeight) / height);
    return fits >= 1 ? Math.floor(fits) : fits;
  }

  /** Where the picture lies on the stage, in CSS pixels, on whole pixels of the screen. */
  #box() {
    const { width, height } = this.#size();
    const ratio = devicePixelRatio;
    const scale = this.#shownScale();
    const stage = this.#stage.getBoundingClientRect(); // which need not be on whole pixels itself
    const whole = (value, from) => Math.round((from + value) * ratio) / ratio - from;
    const [shownWidth, shownHeight] = [(width * scale) / ratio, (height * scale) / ratio];
    return {
      left: whole(this.#stage.clientWidth / 2 - this.#center.x * shownWidth, stage.left),
      top: whole(this.#stage.clientHeight / 2 - this.#center.y * shownHeight, stage.top),
      width: shownWidth,
      height: shownHeight,
    };
  }

  /** The place of a pointer in the picture, 0…1. */
  #placeOf(event) {
    const [box, stage] = [this.#box(), this.#stage.getBoundingClientRect()];
    return {
      x: (event.clientX - stage.left - box.left) / box.width,
      y: (event.clientY - stage.top - box.top) / box.height,
    };
  }

  #loaded() {
    this.#note.textContent = "";
    const [source, result] = [this.#before, this.#after];
    if (source.naturalWidth && result.naturalWidth && source.complete && result.complete) {
      if (source.naturalWidth !== result.naturalWidth || source.naturalHeight !== result.naturalHeight) {
        const size = (image) => `${image.naturalWidth} × ${image.naturalHeight}`;
        this.#note.textContent = `Source ${size(source)}, result ${size(result)}: scaled to the source to compare.`;
      }
    }
    this.#layout();
  }

  #missing(image) {
    const which = image === this.#before ? "source" : "result";
    this.#note.textContent = `The picture of the ${which} is no longer there.`;
  }

  #layout() {
    const mode = this.#mode;
    this.#stage.dataset.mode = mode;
    const shown = (target, visible) => (target.style.visibility = visible ? "visible" : "hidden");
    shown(this.#before, mode === "compare" || mode === "source");
    shown(this.#after, mode === "compare" || mode === "result");
    shown(this.#canvas, mode === "difference");
    setAttribute(this.#divider, "hidden", mode !== "compare");
    setAttribute(this.#legend, "hidden", mode !== "difference");
    setAttribute(this.#sourceLabel, "hidden", mode === "result" || mode === "difference");
    setAttribute(this.#resultLabel, "hidden", mode === "source");
    if (!this.#size().width || !this.#stage.clientWidth) return;
    const box = this.#box();
    for (const side of ["left", "top", "width", "height"]) this.#plane.style[side] = `${box[side]}px`;
    this.#plane.dataset.enlarged = this.#shownScale() >= 1;
    this.#after.style.clipPath = mode === "compare" ? `inset(0 0 0 ${100 * this.#share}%)` : "none";
    this.#divider.style.left = `${box.left + box.width * this.#share}px`;
    this.#divider.style.top = `${Math.max(0, box.top)}px`;
    this.#divider.style.bottom = `${Math.max(0, this.#stage.clientHeight - box.top - box.height)}px`;
    this.#divider.setAttribute("aria-valuenow", Math.round(100 - 100 * this.#share));
    this.#scaleText.textContent = `${Math.round(this.#shownScale() * 100)} %`;
    if (mode === "difference") this.#difference();
  }

  #difference() {
    const [source, result] = [this.#before, this.#after];
    const pair = `${source.src} ${result.src}`;
    if (this.#drawn === pair || !source.complete || !result.complete || !result.naturalWidth) return;
    drawDifference(this.#canvas, source, result);
    this.#drawn = pair;
  }

  #moveByKey(event) {
    const by = { ArrowLeft: -0.05, ArrowRight: 0.05, Home: -1, End: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation(); // the arrows are the slider's here, not the strip's
    this.#share = Math.min(1, Math.max(0, this.#share + by));
    this.#layout();
  }

  #wipe(event) {
    event.stopPropagation();
    event.preventDefault();
    this.#divider.focus({ preventScroll: true });
    this.#drag(event, (move) => {
      this.#share = Math.min(1, Math.max(0, this.#placeOf(move).x));
      this.#layout();
    });
  }

  #pan(event) {
    if (event.button > 1) return;
    let last = event;
    this.#drag(event, (move) => {
      const box = this.#box();
      this.#center.x -= (move.clientX - last.clientX) / box.width;
      this.#center.y -= (move.clientY - last.clientY) / box.height;
      last = move;
      this.#layout();
    });
  }

  #drag(event, onmove) {
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    const end = () => {
      target.removeEventListener("pointermove", onmove);
      target.removeEventListener("pointerup", end);
      target.removeEventListener("pointercancel", end);
    };
    target.addEventListener("pointermove", onmove);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
  }

  #wheel(event) {
    event.preventDefault();
    if (Math.abs(event.deltaY) < 1) return;
    this.zoom(event.deltaY < 0 ? 1 : -1, event);
  }
}
