/** Boxes on an image: what a thinker points at. Frames that scale with the image, and their labels. */

import { element, svgElement } from "./dom.mjs";

/** @typedef {import("./trajectory.mjs").Region} Region */
/** @typedef {import("./trajectory.mjs").Step} Step */

const MAX_REGIONS = 16; // a record may come from anyone

/** What each kind means, in a word or two. @type {Record<Region["kind"], string>} */
export const KINDS = { wrong: "still wrong", changed: "unrequested change", place: "place of the edit" };

/** The boxes of a step that can be drawn. @param {Step} step @returns {Region[]} */
export const regionsOf = ({ critique: { regions = [] } }) => regions.slice(0, MAX_REGIONS).filter(isRegion);

/** @param {Region} region */
const isRegion = ({ kind, box }) =>
  kind in KINDS && Array.isArray(box) && box.length === 4 && box.every((edge) => edge >= 0 && edge <= 1);

/** Whether any step of a run points at anything. @param {{steps: Step[]}} record */
export const hasRegions = ({ steps }) => steps.some((step) => regionsOf(step).length > 0);

/** @param {Region} region */
export const describeRegion = ({ kind, label }) => (label ? `${KINDS[kind]}: ${label}` : KINDS[kind]);

/**
 * The frames of boxes over an image. Each is drawn twice, light under dark lines, so that it shows on any image.
 *
 * @param {Region[]} regions
 * @param {{width: number, height: number} | null} size of an image that is centered and as large as fits; null: it fills everything
 */
export function regionFrames(regions, size = null) {
  const { width, height } = size ?? { width: 1, height: 1 };
  const fit = size ? "xMidYMid meet" : "none";
  const view = { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: fit, "aria-hidden": "true" };
  const frames = regions.flatMap(({ kind, box: [left, top, right, bottom] }) => {
    const place = { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height };
    return ["rt-region-under", `rt-region rt-region-${kind}`].map((name) =>
      svgElement("rect", { ...place, class: name, "vector-effect": "non-scaling-stroke" }),
    );
  });
  return svgElement("svg", { ...view, class: "rt-regions" }, ...frames);
}

/**
 * The frames over an image of a strip, once its size is known.
 *
 * @param {Region[]} regions
 * @param {HTMLImageElement} image
 */
export function regionThumb(regions, image) {
  const holder = element("div", { class: "rt-region-thumb" });
  const draw = () => {
    holder.replaceChildren(regionFrames(regions, { width: image.naturalWidth, height: image.naturalHeight }));
  };
  if (image.naturalWidth) draw();
  else image.addEventListener("load", draw, { once: true });
  return holder;
}

/** What each box is, at its upper left corner. @param {Region[]} regions */
export function regionLabels(regions) {
  return regions.map((region) => {
    const [left, top] = region.box;
    const style = `left:${100 * left}%;top:${100 * top}%`;
    return element("span", { class: `rt-region-label rt-region-${region.kind}`, style }, describeRegion(region));
  });
}
