/** Source and result on top of each other, at a scale where each of their pixels is a whole number of screen pixels. */

import { drawDifference, FULL, RAMP_GRADIENT } from "./difference.mjs";
import { element, icon, oncePerFrame, setAttribute } from "./dom.mjs";
import { regionFrames, regionLabels } from "./regions.mjs";

/** @typedef {import("./dom.mjs").Child} Child */
/** @typedef {"compare" | "source" | "result" | "difference"} Mode */
/** @typedef {{clientX: number, clientY: number}} PointerPlace */

/** @type {Record<Mode, string>} */
export const MODES = { compare: "Compare", source: "Source", result: "Result", difference: "Difference" };
const SCALES = [1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]; // screen pixels per image pixel
const MARGIN = 0.03; // of the stage, left free on every side of a fitted image

export class Comparer {
  #source = element("img", { class: "rt-image", alt: "", draggable: "false" });
  #result = element("img", { class: "rt-image", alt: "", draggable: "false" });
  #canvas = element("canvas", { class: "rt-image" });
  #boxes = element("div", { class: "rt-boxes" });
  #plane = element("div", { class: "rt-plane" }, this.#source, this.#result, this.#canvas, this.#boxes);
  #divider = element(
    "div",
    {
      class: "rt-divider",
      role: "slider",
      tabindex: 0,
      "aria-label": "How much of the result is shown",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      onkeydown: (event) => this.#moveDividerByKey(event),
      onpointerdown: (event) => this.#dragDivider(event),
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
    element("i", { style: `background:${RAMP_GRADIENT}` }),
    `up to ${FULL} of 255 or more`,
  );
  #note = element("div", { class: "rt-note", role: "status" });
  #scaleText = element("output", { class: "rt-scale", "aria-label": "Scale" });
  #stage;
  /** @type {Mode} */
  #mode = "compare";
  /** @type {Mode} */
  #modeBeforeDifference = "compare";
  #share = 0.5; // of the image that is left of the divider
  /** @type {number | null} screen pixels per image pixel; null: as large as fits */
  #scale = null;
  #center = { x: 0.5, y: 0.5 }; // the point of the image at the center of the stage
  #differencePair = ""; // which two images the difference map shows
  #onmode;

  /** @param {(mode: Mode) => void} onmode called whenever the mode has changed */
  constructor(onmode) {
    this.#onmode = onmode;
    this.#stage = element(
      "div",
      {
        class: "rt-stage",
        onwheel: (event) => this.#zoomByWheel(event),
        onpointerdown: (event) => this.#dragImage(event),
      },
      this.#plane,
      this.#divider,
      this.#sourceLabel,
      this.#resultLabel,
      this.#legend,
      this.#note,
      this.#zoomButtons(),
    );
    for (const [image, label] of [
      /** @type {const} */ ([this.#source, "source"]),
      /** @type {const} */ ([this.#result, "result"]),
    ]) {
      image.addEventListener("load", () => this.#onImageLoaded());
      image.addEventListener("error", () => {
        this.#note.textContent = `The ${label} image is no longer there.`;
      });
    }
    new ResizeObserver(oncePerFrame(() => this.#layout())).observe(this.#stage);
  }

  get element() {
    return this.#stage;
  }

  get mode() {
    return this.#mode;
  }

  set mode(mode) {
    if (mode === "difference" && this.#mode !== "difference") this.#modeBeforeDifference = this.#mode;
    this.#mode = mode;
    this.#layout();
    this.#onmode(mode);
  }

  /**
   * Show two images by their addresses.
   *
   * @param {string} source
   * @param {string} result
   * @param {string} label of the result
   * @param {string} alt text of the result
   * @param {import("./trajectory.mjs").Region[]} regions boxes to draw on them
   */
  show(source, result, label, alt, regions = []) {
    this.#boxes.replaceChildren(...(regions.length ? [regionFrames(regions), ...regionLabels(regions)] : []));
    this.#resultLabel.textContent = label;
    this.#result.alt = alt;
    this.#source.alt = "The source image";
    if (this.#source.getAttribute("src") !== source) this.#source.src = source;
    if (this.#result.getAttribute("src") !== result) this.#result.src = result;
    this.#layout();
  }

  flip() {
    this.mode = this.#mode === "source" ? "result" : "source";
  }

  toggleDifference() {
    this.mode = this.#mode === "difference" ? this.#modeBeforeDifference : "difference";
  }

  /** The next scale up. @param {PointerPlace | null} at the point that stays in place; null: the center */
  zoomIn(at = null) {
    const now = this.#shownScale();
    this.#zoomTo(SCALES.find((scale) => scale > now * 1.001) ?? now, at);
  }

  /** The next scale down. @param {PointerPlace | null} at the point that stays in place; null: the center */
  zoomOut(at = null) {
    const now = this.#shownScale();
    this.#zoomTo(SCALES.findLast((scale) => scale < now * 0.999) ?? now, at);
  }

  zoomToFit() {
    this.#zoomTo(null, null);
  }

  zoomToActualPixels() {
    this.#zoomTo(1, null);
  }

  /** @param {number | null} scale @param {PointerPlace | null} at */
  #zoomTo(scale, at) {
    const place = at && this.#placeOf(at);
    this.#scale = scale;
    if (scale === null) this.#center = { x: 0.5, y: 0.5 };
    else if (at && place) {
      const now = this.#placeOf(at); // what was under the pointer stays under it
      this.#center = { x: this.#center.x + place.x - now.x, y: this.#center.y + place.y - now.y };
    }
    this.#layout();
  }

  #zoomButtons() {
    /** @type {(title: string, onclick: () => void, content: Child, label?: string) => HTMLElement} */
    const button = (title, onclick, content, label) =>
      element("button", { type: "button", class: "rt-tool", "aria-label": label, title, onclick }, content);
    return element(
      "div",
      { class: "rt-zoom", onpointerdown: (event) => event.stopPropagation() },
      button("Zoom out (−)", () => this.zoomOut(), icon("minus"), "Zoom out (−)"),
      this.#scaleText,
      button("Zoom in (+)", () => this.zoomIn(), icon("plus"), "Zoom in (+)"),
      button("Fit (0)", () => this.zoomToFit(), "Fit"),
      button("Actual pixels (1)", () => this.zoomToActualPixels(), "1:1"),
    );
  }

  #imageSize() {
    return { width: this.#source.naturalWidth, height: this.#source.naturalHeight };
  }

  /**
   * Screen pixels per image pixel. An image that fits enlarged is scaled by a whole number, so that all pixels are equally wide.
   */
  #shownScale() {
    if (this.#scale !== null) return this.#scale;
    const { width, height } = this.#imageSize();
    /** @param {number} side */
    const room = (side) => Math.max(1, side * (1 - 2 * MARGIN) * devicePixelRatio);
    const fits = Math.min(room(this.#stage.clientWidth) / width, room(this.#stage.clientHeight) / height);
    return fits >= 1 ? Math.floor(fits) : fits;
  }

  /** The position of the image on the stage, in CSS pixels, aligned to whole screen pixels. */
  #imageBox() {
    const ratio = devicePixelRatio;
    const scale = this.#shownScale() / ratio;
    const size = this.#imageSize();
    const [width, height] = [size.width * scale, size.height * scale];
    const stage = this.#stage.getBoundingClientRect(); // which need not be on whole pixels itself
    /** @type {(value: number, from: number) => number} */
    const snap = (value, from) => Math.round((from + value) * ratio) / ratio - from;
    return {
      left: snap(this.#stage.clientWidth / 2 - this.#center.x * width, stage.left),
      top: snap(this.#stage.clientHeight / 2 - this.#center.y * height, stage.top),
      width,
      height,
    };
  }

  /** The place of a pointer in the image, 0…1. @param {PointerPlace} pointer */
  #placeOf({ clientX, clientY }) {
    const [box, stage] = [this.#imageBox(), this.#stage.getBoundingClientRect()];
    return { x: (clientX - stage.left - box.left) / box.width, y: (clientY - stage.top - box.top) / box.height };
  }

  #onImageLoaded() {
    this.#note.textContent = "";
    const [source, result] = [this.#source, this.#result];
    const loaded = source.naturalWidth && result.naturalWidth && source.complete && result.complete;
    if (loaded && (source.naturalWidth !== result.naturalWidth || source.naturalHeight !== result.naturalHeight)) {
      /** @param {HTMLImageElement} image */
      const size = (image) => `${image.naturalWidth} × ${image.naturalHeight}`;
      this.#note.textContent = `Source ${size(source)}, result ${size(result)}: scaled to the source's size for comparison.`;
    }
    this.#layout();
  }

  #layout() {
    const mode = this.#mode;
    this.#stage.dataset.mode = mode;
    /** @type {(target: HTMLElement, visible: boolean) => void} */
    const show = (target, visible) => target.style.setProperty("visibility", visible ? "visible" : "hidden");
    show(this.#source, mode === "compare" || mode === "source");
    show(this.#result, mode === "compare" || mode === "result");
    show(this.#canvas, mode === "difference");
    setAttribute(this.#divider, "hidden", mode !== "compare");
    setAttribute(this.#legend, "hidden", mode !== "difference");
    setAttribute(this.#sourceLabel, "hidden", mode === "result" || mode === "difference");
    setAttribute(this.#resultLabel, "hidden", mode === "source");
    if (!this.#imageSize().width || !this.#stage.clientWidth) return;
    const box = this.#imageBox();
    for (const [side, value] of Object.entries(box)) this.#plane.style.setProperty(side, `${value}px`);
    this.#plane.dataset.enlarged = String(this.#shownScale() >= 1);
    this.#result.style.clipPath = mode === "compare" ? `inset(0 0 0 ${100 * this.#share}%)` : "none";
    this.#divider.style.left = `${box.left + box.width * this.#share}px`;
    this.#divider.style.top = `${Math.max(0, box.top)}px`;
    this.#divider.style.bottom = `${Math.max(0, this.#stage.clientHeight - box.top - box.height)}px`;
    setAttribute(this.#divider, "aria-valuenow", Math.round(100 - 100 * this.#share));
    this.#scaleText.textContent = `${Math.round(this.#shownScale() * 100)} %`;
    if (mode === "difference") this.#drawDifference();
  }

  #drawDifference() {
    const [source, result] = [this.#source, this.#result];
    const pair = `${source.src} ${result.src}`;
    if (this.#differencePair === pair || !source.complete || !result.complete || !result.naturalWidth) return;
    drawDifference(this.#canvas, source, result);
    this.#differencePair = pair;
  }

  /** @param {number} share */
  #moveDivider(share) {
    this.#share = Math.min(1, Math.max(0, share));
    this.#layout();
  }

  /** @param {KeyboardEvent} event */
  #moveDividerByKey(event) {
    /** @type {Record<string, number>} */
    const offsets = { ArrowLeft: -0.05, ArrowRight: 0.05, Home: -1, End: 1 };
    const by = offsets[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation(); // here the arrow keys belong to the slider, not the strip
    this.#moveDivider(this.#share + by);
  }

  /** @param {PointerEvent} event */
  #dragDivider(event) {
    event.stopPropagation();
    event.preventDefault();
    this.#divider.focus({ preventScroll: true });
    trackPointer(event, (move) => this.#moveDivider(this.#placeOf(move).x));
  }

  /** @param {PointerEvent} event */
  #dragImage(event) {
    if (event.button > 1) return;
    let last = event;
    trackPointer(event, (move) => {
      const box = this.#imageBox();
      this.#center.x -= (move.clientX - last.clientX) / box.width;
      this.#center.y -= (move.clientY - last.clientY) / box.height;
      last = move;
      this.#layout();
    });
  }

  /** @param {WheelEvent} event */
  #zoomByWheel(event) {
    event.preventDefault();
    if (Math.abs(event.deltaY) < 1) return;
    if (event.deltaY < 0) this.zoomIn(event);
    else this.zoomOut(event);
  }
}

/**
 * Follow a pointer that was pressed until it is released.
 *
 * @param {PointerEvent} event
 * @param {(event: PointerEvent) => void} onmove
 */
function trackPointer({ currentTarget, pointerId }, onmove) {
  const target = /** @type {HTMLElement} */ (currentTarget);
  target.setPointerCapture(pointerId);
  const end = () => {
    target.removeEventListener("pointermove", onmove);
    target.removeEventListener("pointerup", end);
    target.removeEventListener("pointercancel", end);
  };
  target.addEventListener("pointermove", onmove);
  target.addEventListener("pointerup", end);
  target.addEventListener("pointercancel", end);
}
