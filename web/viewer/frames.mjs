/** The frames of the film strip: the source, a turn, and the turn that is being made. */

import { element, icon } from "./dom.mjs";
import { regionsOf, regionThumb } from "./regions.mjs";
import { formatNumber, isJudged, verdictOf } from "./trajectory.mjs";

/** @typedef {import("./trajectory.mjs").Turn} Turn */
/** @typedef {import("./view.mjs").View} View */
/** @typedef {import("./word_diff.mjs").Piece} Piece */
/**
 * @typedef {(address: string) => HTMLImageElement} ImageSource creates the image of an address, or reuses an existing one
 */

const CONTEXT = 24; // characters of a prompt kept before the first change, if all would push the change out of view

/** @param {View} view @param {ImageSource} image */
export function sourceFrame({ record, address }, image) {
  return element(
    "figure",
    { class: "rt-frame rt-frame-source", "aria-hidden": "true" },
    element("div", { class: "rt-thumb" }, image(address(record.source))),
    element("figcaption", { class: "rt-frame-head" }, element("b", {}, "Source")),
    element("p", { class: "rt-prompt", title: record.instruction }, record.instruction),
  );
}

/**
 * @param {View} view
 * @param {Turn} turn
 * @param {ImageSource} image
 * @param {import("./dom.mjs").Attributes} attributes
 */
export function turnFrame({ record, address }, turn, image, attributes) {
  const step = record.steps[turn.lead];
  const best = turn.steps.includes(record.best ?? -1);
  const { unchanged } = step.preservation;
  const [shown, regions] = [image(address(step.file)), regionsOf(step)];
  return element(
    "div",
    { class: "rt-frame", "data-best": best, "data-unchanged": unchanged, ...attributes },
    element(
      "div",
      { class: "rt-thumb" },
      shown,
      regions.length ? regionThumb(regions, shown) : null,
      best && isJudged(step)
        ? element("span", { class: "rt-star", title: "The best edit of the run" }, icon("star"))
        : null,
      element(
        "div",
        { class: "rt-chips" },
        best && !isJudged(step) ? element("span", { class: "rt-unjudged" }, "result, not judged") : null,
        unchanged ? element("span", {}, "nothing changed") : null,
        turn.steps.length > 1 ? element("span", {}, `${turn.steps.length} candidates`) : null,
      ),
    ),
    element("div", { class: "rt-frame-head" }, element("b", {}, `Turn ${turn.number}`), scoreMeters(verdictOf(step))),
    promptText(turn.diff, false, "rt-prompt"),
  );
}

/** @param {View} view of a run that is going on @param {ImageSource} image */
export function pendingFrame({ pending, live, address }, image) {
  return element(
    "div",
    { class: "rt-frame rt-frame-pending", "aria-hidden": "true" },
    element("div", { class: "rt-thumb" }, live && pendingThumb(live, address, image)),
    element("div", { class: "rt-frame-head" }, element("b", {}, `Turn ${pending?.turn}`)),
    element("p", { class: "rt-prompt" }, pending?.prompt),
  );
}

/** @param {import("./view.mjs").LiveState} live @param {View["address"]} address @param {ImageSource} image */
function pendingThumb({ images, preview, waiting }, address, image) {
  /** @param {string} text */
  const chip = (text) => element("span", {}, element("i", { class: "rt-spinner" }), text);
  if (images.length) {
    const count = images.length > 1 ? element("span", {}, `${images.length} candidates`) : null;
    return [image(address(images[0])), element("div", { class: "rt-chips" }, chip("looking…"), count)];
  }
  if (preview) {
    const under = element("img", { class: "rt-preview", src: preview, alt: "", draggable: "false" });
    return [under, element("div", { class: "rt-chips" }, chip("editing…"))];
  }
  return element("span", { class: waiting ? "rt-pulse" : "rt-spinner" });
}

/** Both scores, each as a small number with a bar. @param {import("./trajectory.mjs").Critique} verdict */
function scoreMeters({ semantic, quality }) {
  if (semantic === null || quality === null) return element("span", { class: "rt-unscored" }, "not judged");
  return element("span", { class: "rt-scores" }, meter("Semantic", semantic), meter("Quality", quality));
}

/** @param {string} label @param {number} value */
function meter(label, value) {
  const title = `${label} ${formatNumber(value)} of 10`;
  const attributes = { class: "rt-meter", style: `--share:${value / 10}`, "data-level": levelOf(value), title };
  return element("span", attributes, formatNumber(value));
}

/** The level that sets the color of a score. @param {number} value 0…10 */
export const levelOf = (value) => (value >= 8 ? "high" : value >= 5 ? "middle" : "low");

/**
 * A prompt with its new words marked.
 *
 * @param {Piece[]} diff
 * @param {boolean} full include removed words; otherwise start shortly before the first change
 * @param {string} className
 */
export function promptText(diff, full, className) {
  const current = diff.filter((piece) => piece.kind !== "gone");
  const title = full ? null : current.map((piece) => piece.text).join("");
  const tags = /** @type {const} */ ({ same: "span", new: "ins", gone: "del" });
  const children = spacePieces(full ? diff : fromFirstChange(current)).map((piece) =>
    typeof piece === "string" ? piece : element(tags[piece.kind], {}, piece.text),
  );
  return element("p", { class: className, title }, children);
}

/** Insert a space wherever a removed piece would touch the next one. @param {Piece[]} pieces */
export function spacePieces(pieces) {
  return pieces.flatMap((piece, index) => {
    const before = pieces[index - 1];
    const touches = before && (before.kind === "gone" || piece.kind === "gone") && !/\s$/.test(before.text);
    return touches ? [" ", piece] : [piece];
  });
}

/**
 * Pieces without the text long before the first change.
 *
 * @param {Piece[]} pieces
 * @returns {Piece[]}
 */
export function fromFirstChange(pieces) {
  const [first, ...others] = pieces;
  if (!others.length || first.kind !== "same" || first.text.length <= 2 * CONTEXT) return pieces;
  return [{ ...first, text: `… ${first.text.slice(-CONTEXT).replace(/^\S*\s+/, "")}` }, ...others];
}
