/** The film strip of turns. Only the frames in sight are in the page, however many turns there are. */

import { element, framed, icon, setAttribute } from "./dom.mjs";
import { describe, isJudged, number, verdictOf } from "./record.mjs";
import { ownWheel, zooms } from "./wheel.mjs";

const NARROWEST = 156; // frame, in CSS pixels like all that follows
const GAP = 10;
const WORDS = 44; // height of a frame around its picture and the lines of its prompt, as in viewer.css
const LINE = 16.8;
const FEWEST = 2; // lines of a prompt
const LOWEST = 48; // picture, so that what lies on it has room on a banner too
const LEAD = 24; // characters of a prompt before the first change, where all would leave the change out of sight
const AT_ONCE = 2.3; // frames that shall be in sight, however large they grow: one sees that it goes on behind two
const BEYOND = 2; // frames kept ready on either side
const NOTCH = 32; // of a wheel that counts in lines, to each of them
const LOOKING = "looking…"; // on an edit that nobody has judged yet

let strips = 0;

export class Strip {
  #view = null;
  #selected = -1; // index of a step
  #frames = new Map(); // place in the strip → its element
  #pictures = new Map(); // address → picture of a frame that is made anew: it goes over, so that it does not flicker
  #track = element("div", { class: "rt-track" });
  #frame = NARROWEST; // width of every frame
  #hidden = true; // and so it cannot be scrolled
  #aspect = null; // width by height of the pictures; null: none has been seen
  #list;
  #id = `rt-strip-${++strips}`;
  #onselect;
  #onopen;

  /** onselect(step index): the user went to a turn; onopen(step index): and wants to see it large, where that is to be had. */
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
        onscroll: framed(() => this.#draw()),
        onkeydown: (event) => this.#command(event),
      },
      this.#track,
    );
    ownWheel(this.#list, (event) => this.#wheel(event));
    new ResizeObserver(framed(() => this.#fit())).observe(this.#list);
    this.#track.addEventListener("load", ({ target }) => this.#measure(target), true);
  }

  get element() {
    return this.#list;
  }

  /** view: {record, turns, address, pending}, see viewer.mjs. selected: the index of a step. */
  show(view, selected) {
    const framesOf = ({ turns, pending }) => turns.length + Number(Boolean(pending));
    const grown = this.#view && framesOf(view) > framesOf(this.#view);
    const atEnd = this.#list.scrollLeft + this.#list.clientWidth >= this.#list.scrollWidth - this.#frame;
    if (view.address(view.record.source) !== this.#view?.address(this.#view.record.source)) this.#aspect = null;
    this.#view = view;
    this.#widen();
    for (const [place, frame] of this.#frames) if (frame.dataset.key !== this.#key(place)) this.#drop(place);
    if (selected !== this.#selected) this.select(selected);
    if (grown && atEnd) this.#list.scrollLeft = this.#list.scrollWidth; // who looks at what comes goes on doing so
    this.#draw();
    const preview = this.#track.querySelector(".rt-preview");
    // The frame stays: no flicker. One after the other: on a busy machine none would come to its end before the next.
    if (preview?.complete && view.live?.preview) setAttribute(preview, "src", view.live.preview);
  }

  select(selected) {
    this.#selected = selected;
    const place = this.#placeOf(selected);
    this.#reveal(place);
    this.#draw();
    this.#frames.forEach((frame, at) => at && setAttribute(frame, "aria-selected", String(at === place)));
    setAttribute(this.#list, "aria-activedescendant", place > 0 && `${this.#id}-${place}`);
  }

  /** Bring a frame into sight, with half of its neighbour, so that one sees that it goes on there. */
  #reveal(place) {
    const [left, list] = [this.#left(place), this.#list];
    if (left < list.scrollLeft) list.scrollLeft = place === 1 ? 0 : left - this.#frame / 2;
    const right = left + this.#frame;
    if (right > list.scrollLeft + this.#room()) list.scrollLeft = right + this.#frame / 2 - this.#room();
  }

  #left = (place) => place * (this.#frame + GAP);

  /** The width that frames have, without the padding. */
  #room() {
    const { paddingLeft, paddingRight } = getComputedStyle(this.#list);
    return this.#list.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  }

  #widen() {
    const { turns, pending } = this.#view;
    this.#track.style.width = `${this.#left(turns.length + 1 + Number(Boolean(pending))) - GAP}px`;
  }

  /** The first picture of a run that has come says how wide by high they are. */
  #measure({ naturalWidth, naturalHeight }) {
    if (this.#aspect !== null) return;
    this.#aspect = naturalWidth / naturalHeight;
    this.#fit();
  }

  /** Frames as large as the strip's height and pictures' shape let them be, and as many lines of prompt as are left. */
  #fit() {
    if (!this.#list.clientWidth) this.#hidden = true;
    if (!this.#view || !this.#list.clientWidth) return;
    const [height, aspect] = [this.#track.clientHeight - WORDS, this.#aspect ?? 1];
    const widest = (this.#room() - Math.floor(AT_ONCE) * GAP) / AT_ONCE;
    const width = Math.round(Math.max(NARROWEST, Math.min(widest, (height - FEWEST * LINE) * aspect)));
    const picture = Math.min(Math.max(LOWEST, width / aspect), height - FEWEST * LINE);
    this.#list.style.setProperty("--frame", `${width}px`);
    this.#list.style.setProperty("--picture", `${picture}px`);
    this.#list.style.setProperty("--lines", Math.floor((height - picture) / LINE + 0.01));
    const moved = this.#hidden || width !== this.#frame;
    this.#hidden = false;
    this.#frame = width;
    this.#widen();
    for (const [place, frame] of this.#frames) frame.style.left = `${this.#left(place)}px`;
    if (moved) this.#reveal(this.#placeOf(this.#selected));
    this.#draw();
  }

  /** 0 is the source, 1 the first turn. */
  #placeOf(index) {
    return 1 + this.#view.turns.findIndex((turn) => turn.steps.includes(index));
  }

  #draw() {
    if (!this.#view || !this.#list.clientWidth) return;
    const { turns, pending } = this.#view;
    const first = Math.max(0, Math.floor(this.#list.scrollLeft / this.#left(1)) - BEYOND);
    const seen = Math.ceil(this.#list.clientWidth / this.#left(1)) + 2 * BEYOND;
    const last = Math.min(turns.length + Number(Boolean(pending)), first + seen);
    for (const place of this.#frames.keys()) if (place < first || place > last) this.#drop(place);
    for (let place = first; place <= last; place++) {
      if (this.#frames.has(place)) continue;
      const frame = this.#make(place);
      frame.dataset.key = this.#key(place);
      frame.style.left = `${this.#left(place)}px`;
      this.#frames.set(place, frame);
      const next = [...this.#frames.keys()].filter((other) => other > place).sort((a, b) => a - b)[0];
      this.#track.insertBefore(frame, next === undefined ? null : this.#frames.get(next)); // read in their order
    }
    this.#pictures.clear();
  }

  #drop(place) {
    const frame = this.#frames.get(place);
    for (const image of frame.querySelectorAll("img")) this.#pictures.set(image.getAttribute("src"), image);
    frame.remove();
    this.#frames.delete(place);
  }

  #picture(address) {
    const image = this.#pictures.get(address);
    this.#pictures.delete(address);
    return image ?? element("img", { src: address, alt: "", decoding: "async", draggable: "false", onerror: markMissing });
  }

  /** What a frame shows: as long as it stays, so does the frame, and no picture flickers. */
  #key(place) {
    const { record, turns, address, pending, live } = this.#view;
    if (place === 0) return address(record.source);
    const turn = turns[place - 1];
    if (!turn) return `next: ${pending?.prompt} ${live?.waiting} ${live?.images} ${Boolean(live?.preview)}`;
    return [address(record.steps[turn.lead].file), turn.steps.length, turn.steps.includes(record.best)].join(" ");
  }

  #make(place) {
    if (place === 0) return this.#source();
    const turn = this.#view.turns[place - 1];
    return turn ? this.#turn(turn, place) : this.#pending();
  }

  #source() {
    const { record, address } = this.#view;
    return element(
      "figure",
      { class: "rt-frame rt-frame-source", "aria-hidden": "true" },
      element("div", { class: "rt-thumb" }, this.#picture(address(record.source))),
      element("figcaption", { class: "rt-frame-head" }, element("b", {}, "Source")),
      element("p", { class: "rt-prompt", title: record.instruction }, record.instruction),
    );
  }

  #turn(turn, place) {
    const { record, address } = this.#view;
    const step = record.steps[turn.lead];
    const verdict = verdictOf(step);
    const best = turn.steps.includes(record.best);
    const judged = isJudged(step);
    return element(
      "div",
      {
        class: "rt-frame",
        role: "option",
        id: `${this.#id}-${place}`,
        "aria-selected": String(turn.steps.includes(this.#selected)),
        "aria-setsize": this.#view.turns.length,
        "aria-posinset": place,
        "aria-label": describe(record, turn, turn.lead),
        "data-best": best,
        "data-unchanged": step.preservation.unchanged,
        onclick: () => this.#choose(turn.lead, true),
      },
      element(
        "div",
        { class: "rt-thumb" },
        this.#picture(address(step.file)),
        best && judged ? element("span", { class: "rt-star", title: "The best edit of the run" }, icon("star")) : null,
        element(
          "div",
          { class: "rt-chips" },
          best && !judged ? element("span", { class: "rt-unjudged" }, "result, not judged") : null,
          step.preservation.unchanged ? element("span", {}, "nothing changed") : null,
          turn.steps.length > 1 ? element("span", {}, `${turn.steps.length} candidates`) : null,
        ),
      ),
      element("div", { class: "rt-frame-head" }, element("b", {}, `Turn ${turn.number}`), scores(verdict)),
      prompt(turn.diff, false, "rt-prompt"),
    );
  }

  #pending() {
    const { pending, live, address } = this.#view;
    const [file] = live.images;
    const chip = (text) => element("span", {}, element("i", { class: "rt-spinner" }), text);
    const many = live.images.length > 1 ? element("span", {}, `${live.images.length} candidates`) : null;
    let inside = [element("span", { class: live.waiting ? "rt-pulse" : "rt-spinner" })];
    if (file) inside = [this.#picture(address(file)), element("div", { class: "rt-chips" }, chip(LOOKING), many)];
    else if (live.preview) {
      const preview = element("img", { class: "rt-preview", src: live.preview, alt: "", draggable: "false" });
      inside = [preview, element("div", { class: "rt-chips" }, chip("editing…"))];
    }
    return element(
      "div",
      { class: "rt-frame rt-frame-pending", "aria-hidden": "true" },
      element("div", { class: "rt-thumb" }, inside),
      element("div", { class: "rt-frame-head" }, element("b", {}, `Turn ${pending.turn}`)),
      element("p", { class: "rt-prompt" }, pending.prompt),
    );
  }

  #choose(index, open) {
    this.select(index);
    this.#onselect(index);
    if (open) this.#onopen?.(index);
  }

  #command(event) {
    const { turns } = this.#view ?? { turns: [] };
    if (!turns.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = this.#placeOf(this.#selected);
    const target = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 1, End: turns.length }[event.key];
    if (target !== undefined) this.#choose(turns[Math.min(turns.length, Math.max(1, target)) - 1].lead, false);
    else if (this.#onopen && (event.key === "Enter" || event.key === " "))
      this.#choose(turns[Math.max(1, place) - 1].lead, true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** The wheel goes along the strip; on one that is all in sight it is left to what is around. */
  #wheel(event) {
    if (zooms(event) || this.#list.scrollWidth <= this.#list.clientWidth) return;
    const by = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
    this.#list.scrollLeft += event.deltaMode === WheelEvent.DOM_DELTA_LINE ? by * NOTCH : by;
    event.preventDefault();
    event.stopPropagation();
  }
}

function markMissing(event) {
  event.target.replaceWith(element("span", { class: "rt-missing" }, "picture is gone"));
}

/** Both scores, small, as a number with a bar. */
function scores(verdict) {
  if (verdict.semantic === null) return element("span", { class: "rt-unscored" }, "not judged");
  const meter = (name, value) =>
    element(
      "span",
      {
        class: "rt-meter",
        style: `--share:${value / 10}`,
        "data-level": levelOf(value),
        title: `${name} ${number(value)} of 10`,
      },
      number(value),
    );
  return element(
    "span",
    { class: "rt-scores" },
    meter("Semantic", verdict.semantic),
    meter("Quality", verdict.quality),
  );
}

/** The thirds by which a score is coloured, beside its number and its bar. */
export const levelOf = (value) => (value >= 8 ? "high" : value >= 5 ? "middle" : "low");

/** A prompt with what is new in it marked; in full and with what is gone, or from about the first change on. */
export function prompt(diff, full, className) {
  const tags = { same: "span", new: "ins", gone: "del" };
  const now = diff.filter((piece) => piece.kind !== "gone");
  const text = now.map((piece) => piece.text).join("");
  const pieces = full ? diff : fromFirstChange(now);
  const spaced = pieces.flatMap((piece, index) => {
    const before = pieces[index - 1];
    const needsSpace = before && (before.kind === "gone" || piece.kind === "gone") && !/\s$/.test(before.text);
    return [needsSpace ? " " : null, element(tags[piece.kind], {}, piece.text)];
  });
  return element("p", { class: className, title: full ? null : text }, spaced);
}

function fromFirstChange(pieces) {
  const [first, ...others] = pieces;
  if (!others.length || first.kind !== "same" || first.text.length <= 2 * LEAD) return pieces;
  return [{ ...first, text: `… ${first.text.slice(-LEAD).replace(/^\S*\s+/, "")}` }, ...others];
}
