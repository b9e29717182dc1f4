/** A training as the server describes it, and its numbers in words. */

import { formatDuration, formatLoss, formatMemory, formatRate, formatShare } from "./plot.mjs";

/** @typedef {import("./plot.mjs").Point} Point */
/** @typedef {{changed?: number, kept?: number, thinker?: number}} Means */
/** @typedef {{changed?: number, kept?: number | null, thinker?: number | null, note?: string}} Scores */

/**
 * @typedef {object} Save
 * @property {number} step
 * @property {number} loss
 * @property {number | null} held_out
 * @property {string[]} previews files of the edits, in the order of `shown`
 * @property {Scores[]} scores of each of them
 * @property {Means} means
 */

/**
 * An edit made at every save: a held-out pair, or the user's own edit, which has no target. references: its further
 * images.
 *
 * @typedef {object} Shown
 * @property {string} instruction
 * @property {string} input
 * @property {string} target
 * @property {string} base
 * @property {Scores} scores
 * @property {Means} means
 * @property {string[]} [references]
 */

/**
 * See `view_of` in rethink/training/lora_view.py.
 *
 * @typedef {object} Training
 * @property {string} title
 * @property {number} step
 * @property {number} steps
 * @property {number} seconds
 * @property {number | null} seconds_left
 * @property {number} samples_per_second
 * @property {number} memory bytes; 0: unknown
 * @property {{raw: Point[], smooth: Point[], rates: Point[]}} curves
 * @property {Save[]} saves
 * @property {Shown[]} shown
 * @property {string} [preview_editor] what made the previews, if not the editor that learns
 * @property {number} best the step of the best save, 0 before there is one
 * @property {string} why
 * @property {string} stopped why it ended early, "" if it did not
 */

/** @param {Training} training @returns {Point[]} */
export const heldOutCurve = ({ saves }) =>
  saves.flatMap(({ step, held_out }) => (held_out === null ? [] : [/** @type {Point} */ ([step, held_out])]));

/** The saves that have edits to look at. @param {Training} training */
export const previewedSaves = ({ saves }) => saves.filter(({ previews }) => previews.length);

/**
 * The numbers above the plot, each with its name.
 *
 * @param {Training} training
 * @param {boolean} live
 * @returns {[string, string][]}
 */
export function numbersOf(training, live) {
  const { step, steps, seconds, seconds_left, samples_per_second, memory, curves, preview_editor } = training;
  const heldOut = heldOutCurve(training).at(-1)?.[1];
  const loss = curves.smooth.at(-1)?.[1];
  const rate = curves.rates.at(-1)?.[1];
  /** @type {[string, string | undefined | false][]} */
  const rows = [
    ["step", steps > step ? `${step} of ${steps}` : String(step)],
    ["loss", loss !== undefined && formatLoss(loss)],
    ["held-out", heldOut !== undefined && formatLoss(heldOut)],
    ["learning rate", rate !== undefined && formatRate(rate)],
    ["samples/s", Boolean(samples_per_second) && String(samples_per_second)],
    live ? ["left", seconds_left !== null && formatDuration(seconds_left)] : ["took", formatDuration(seconds)],
    ["memory", Boolean(memory) && formatMemory(memory)],
    ["previews by", preview_editor],
  ];
  return rows.flatMap(([name, text]) => (text ? [/** @type {[string, string]} */ ([name, text])] : []));
}

/** The measurements of edits, in words; "" if there are none. @param {Scores | Means | undefined} scores */
export function describeScores(scores) {
  const { changed, kept, thinker } = scores ?? {};
  return [
    changed !== undefined && `${formatShare(changed)} of the change`,
    typeof kept === "number" && `${formatShare(kept)} of the rest kept`,
    typeof thinker === "number" && `thinker ${thinker.toFixed(1)}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** The state of a training, in a sentence. @param {Training} training @param {boolean} live */
export function describeEnd({ best, why, stopped }, live) {
  const chosen = best ? `${live ? "Best so far" : "Best"}: step ${best}, ${why}.` : "";
  return [stopped && !live ? `Stopped early: ${stopped}.` : "", chosen].filter(Boolean).join(" ");
}
