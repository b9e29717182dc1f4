/** The film strip of turns. Only the frames in view are in the page, however many turns there are. */

import { element, oncePerFrame, setAttribute } from "./dom.mjs";
import { pendingFrame, sourceFrame, turnFrame } from "./frames.mjs";
import { describeStep } from "./trajectory.mjs";
import { captureWheel, isZoom } from "./wheel.mjs";

/** @typedef {import("./view.mjs").View} View */

// CSS pixels, all of them
const MIN_FRAME_WIDTH = 156;
const GAP = 10;
const TEXT_HEIGHT = 44; // of a frame around its image and the lines of its prompt, as in viewer.css
const LINE_HEIGHT = 16.8;
const MIN_IMAGE_HEIGHT = 48; // so that the chips on the image fit on a banner, too
const WHEEL_LINE = 32; // for a wheel that counts in lines

const MIN_LINES = 2; // of a prompt
const MIN_FRAMES_IN_SIGHT = 2.3; // however large they grow: after two, part of a third shows that there are more
const OVERSCAN = 2; // frames kept ready on either side
const MOVED = 5; // from here on, a pressed pointer is dragging

let stripCount = 0;

export class Strip {
  /** @type {View | null} */
  #view = null;
  #selected = -1; // index of a step
  /** @type {Map<number, HTMLElement>} place in the strip → its frame; 0 is the source, 1 the first turn */
  #frames = new Map();
  /** @type {Map<string, HTMLImageElement>} address → image that is reused in a new frame, without flicker */
  #images = new Map();
  #track = element("div", { class: "rt-track" });
  #frameWidth = MIN_FRAME_WIDTH;
  /** Where the pointer was pressed last, and on the frame at which place */
  #pressed = { place: 0, x: 0, y: 0 };
  #hidden = true; // so it cannot be scrolled
  /** @type {number | null} width by height of the images; null: none has loaded */
  #aspect = null;
  #list;
  #id = `rt-strip-${++stripCount}`;
  #onselect;
  #onopen;

  /**
   * @param {object} listeners
   * @param {(index: number) => void} listeners.onselect the user went to the turn of this step
   * @param {((index: number) => void) | null} [listeners.onopen] the user wants to see it large
   */
  constructor({ onselect, onopen = null }) {
    this.#onselect = onselect;
    this.#onopen = onopen;
    this.#list = element(
      "div",
      {
        class: "rt-strip",
        role: "listbox",
        tabindex: 0,
        "aria-label": "Turns",
        "aria-orientation": "horizontal",
        onscroll: oncePerFrame(() => this.#draw()),
        onkeydown: (event) => this.#handleKey(event),
        onpointerdown: ({ target, clientX: x, clientY: y }) =>
          (this.#pressed = { place: this.#placeUnder(target), x, y }),
        onclick: (event) => this.#handleClick(event),
      },
      this.#track,
    );
    captureWheel(this.#list, (event) => this.#scrollByWheel(event));
    new ResizeObserver(oncePerFrame(() => this.#fit())).observe(this.#list);
    this.#track.addEventListener("load", ({ target }) => this.#measure(target), true);
  }

  get element() {
    return this.#list;
  }

  /** @param {View} view @param {number} selected index of a step */
  show(view, selected) {
    const last = this.#view;
    const grown = last !== null && lastPlace(view) > lastPlace(last);
    const atEnd = this.#list.scrollLeft + this.#list.clientWidth >= this.#list.scrollWidth - this.#frameWidth;
    if (view.address(view.record.source) !== last?.address(last.record.source)) this.#aspect = null;
    this.#view = view;
    this.#widenTrack();
    for (const [place, frame] of this.#frames) if (frame.dataset.key !== this.#keyOf(view, place)) this.#drop(place);
    if (selected !== this.#selected) this.select(selected);
    if (grown && atEnd) this.#list.scrollLeft = this.#list.scrollWidth; // keep following the newest turn
    this.#draw();
    const preview = this.#track.querySelector("img.rt-preview");
    // Keep the frame, to avoid flicker. Wait for the last preview: on a busy machine none would finish before the next.
    if (preview instanceof HTMLImageElement && preview.complete && view.live?.preview) preview.src = view.live.preview;
  }

  /** @param {number} selected index of a step */
  select(selected) {
    this.#selected = selected;
    const place = this.#placeOf(selected);
    this.#reveal(place);
    this.#draw();
    this.#frames.forEach((frame, at) => at && setAttribute(frame, "aria-selected", String(at === place)));
    setAttribute(this.#list, "aria-activedescendant", place > 0 && `${this.#id}-${place}`);
  }

  /**
   * Scroll a frame into view, with half of its neighbor to show that there is more.
   *
   * @param {number} place
   */
  #reveal(place) {
    const [left, list] = [this.#leftOf(place), this.#list];
    if (left < list.scrollLeft) list.scrollLeft = place === 1 ? 0 : left - this.#frameWidth / 2;
    const right = left + this.#frameWidth;
    if (right > list.scrollLeft + this.#innerWidth())
      list.scrollLeft = right + this.#frameWidth / 2 - this.#innerWidth();
  }

  /** @param {number} place */
  #leftOf(place) {
    return place * (this.#frameWidth + GAP);
  }

  /** The width available to frames, without the padding. */
  #innerWidth() {
    const { paddingLeft, paddingRight } = getComputedStyle(this.#list);
    return this.#list.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  }

  #widenTrack() {
    if (this.#view) this.#track.style.width = `${this.#leftOf(lastPlace(this.#view) + 1) - GAP}px`;
  }

  /** Take the aspect ratio from the first image of a run that has loaded. @param {EventTarget | null} image */
  #measure(image) {
    if (this.#aspect !== null || !(image instanceof HTMLImageElement)) return;
    this.#aspect = image.naturalWidth / image.naturalHeight;
    this.#fit();
  }

  /**
   * Make frames as large as the strip's height and the images' aspect ratio allow, and use the rest for lines of the prompt.
   */
  #fit() {
    if (!this.#list.clientWidth) this.#hidden = true;
    if (!this.#view || !this.#list.clientWidth) return;
    const [height, aspect] = [this.#track.clientHeight - TEXT_HEIGHT, this.#aspect ?? 1];
    const widest = (this.#innerWidth() - Math.floor(MIN_FRAMES_IN_SIGHT) * GAP) / MIN_FRAMES_IN_SIGHT;
    const imageRoom = height - MIN_LINES * LINE_HEIGHT;
    const width = Math.round(Math.max(MIN_FRAME_WIDTH, Math.min(widest, imageRoom * aspect)));
    const imageHeight = Math.min(Math.max(MIN_IMAGE_HEIGHT, width / aspect), imageRoom);
    this.#list.style.setProperty("--frame", `${width}px`);
    this.#list.style.setProperty("--image", `${imageHeight}px`);
    this.#list.style.setProperty("--lines", String(Math.floor((height - imageHeight) / LINE_HEIGHT + 0.01)));
    const moved = this.#hidden || width !== this.#frameWidth;
    this.#hidden = false;
    this.#frameWidth = width;
    this.#widenTrack();
    for (const [place, frame] of this.#frames) frame.style.left = `${this.#leftOf(place)}px`;
    if (moved) this.#reveal(this.#placeOf(this.#selected));
    this.#draw();
  }

  /** @param {number} index of a step */
  #placeOf(index) {
    return 1 + (this.#view?.turns.findIndex((turn) => turn.steps.includes(index)) ?? -1);
  }

  #draw() {
    if (!this.#view || !this.#list.clientWidth) return;
    const first = Math.max(0, Math.floor(this.#list.scrollLeft / this.#leftOf(1)) - OVERSCAN);
    const count = Math.ceil(this.#list.clientWidth / this.#leftOf(1)) + 2 * OVERSCAN;
    const last = Math.min(lastPlace(this.#view), first + count);
    for (const place of this.#frames.keys()) if (place < first || place > last) this.#drop(place);
    for (let place = first; place <= last; place++) if (!this.#frames.has(place)) this.#add(this.#view, place);
    this.#images.clear();
  }

  /** @param {View} view @param {number} place */
  #add(view, place) {
    const frame = this.#createFrame(view, place);
    frame.dataset.key = this.#keyOf(view, place);
    frame.style.left = `${this.#leftOf(place)}px`;
    this.#frames.set(place, frame);
    const next = Math.min(...[...this.#frames.keys()].filter((other) => other > place));
    this.#track.insertBefore(frame, this.#frames.get(next) ?? null); // in order, for screen readers
  }

  /** @param {number} place */
  #drop(place) {
    const frame = this.#frames.get(place);
    for (const image of frame?.querySelectorAll("img") ?? []) this.#images.set(image.getAttribute("src") ?? "", image);
    frame?.remove();
    this.#frames.delete(place);
  }

  /** @param {string} address */
  #image = (address) => {
    const image = this.#images.get(address);
    this.#images.delete(address);
    const attributes = { src: address, alt: "", decoding: "async", draggable: "false", onerror: markMissing };
    return image ?? element("img", attributes);
  };

  /**
   * What a frame depends on: while it is unchanged, the frame stays, and no image flickers.
   *
   * @param {View} view
   * @param {number} place
   */
  #keyOf({ record, turns, address, pending, live }, place) {
    if (place === 0) return address(record.source);
    const turn = turns[place - 1];
    if (!turn) return `next: ${pending?.prompt} ${live?.waiting} ${live?.images} ${Boolean(live?.preview)}`;
    return [address(record.steps[turn.lead].file), turn.steps.length, turn.steps.includes(record.best ?? -1)].join(" ");
  }

  /** @param {View} view @param {number} place */
  #createFrame(view, place) {
    if (place === 0) return sourceFrame(view, this.#image);
    const turn = view.turns[place - 1];
    if (!turn) return pendingFrame(view, this.#image);
    return turnFrame(view, turn, this.#image, {
      role: "option",
      id: `${this.#id}-${place}`,
      "aria-selected": String(turn.steps.includes(this.#selected)),
      "aria-setsize": view.turns.length,
      "aria-posinset": place,
      "aria-label": describeStep(view.record, turn, turn.lead),
    });
  }

  /** The place of the frame that contains an element; 0 for none and for the source. @param {EventTarget | null} target */
  #placeUnder(target) {
    for (const [place, frame] of this.#frames) if (target instanceof Node && frame.contains(target)) return place;
    return 0;
  }

  /**
   * Open the clicked turn. If frames moved while the button was down, the browser reports a click on what they have in
   * common: then it is the turn that was pressed.
   *
   * @param {MouseEvent} event
   */
  #handleClick({ target, clientX, clientY }) {
    const { place, x, y } = this.#pressed;
    const stayed = Math.hypot(clientX - x, clientY - y) < MOVED;
    const turn = this.#view?.turns[(this.#placeUnder(target) || (stayed ? place : 0)) - 1];
    if (turn) this.#choose(turn.lead, true);
  }

  /** @param {number} index of a step @param {boolean} open */
  #choose(index, open) {
    this.select(index);
    this.#onselect(index);
    if (open) this.#onopen?.(index);
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    const turns = this.#view?.turns ?? [];
    if (!turns.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = this.#placeOf(this.#selected);
    /** @type {Record<string, number>} */
    const targets = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 1, End: turns.length };
    const target = targets[event.key];
    if (target !== undefined) this.#choose(turns[Math.min(turns.length, Math.max(1, target)) - 1].lead, false);
    else if (this.#onopen && (event.key === "Enter" || event.key === " "))
      this.#choose(turns[Math.max(1, place) - 1].lead, true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * The wheel scrolls the strip; if all of it is in view, the wheel is left to the surroundings.
   *
   * @param {WheelEvent} event
   */
  #scrollByWheel(event) {
    if (isZoom(event) || this.#list.scrollWidth <= this.#list.clientWidth) return;
    const by = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
    this.#list.scrollLeft += event.deltaMode === WheelEvent.DOM_DELTA_LINE ? by * WHEEL_LINE : by;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** The place of the last frame. @param {View} view */
const lastPlace = ({ turns, pending }) => turns.length + Number(Boolean(pending));

/** @param {Event} event */
function markMissing({ target }) {
  if (target instanceof Element) target.replaceWith(element("span", { class: "rt-missing" }, "image missing"));
}
