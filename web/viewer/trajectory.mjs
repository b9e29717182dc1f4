/** A trajectory.json as the view reads it: by turn, each with its candidates, and described in words. */

import { wordDiff } from "./word_diff.mjs";

/** @typedef {import("./word_diff.mjs").Piece} Piece */

/**
 * A thinker's answer about one edit.
 *
 * @typedef {object} Critique
 * @property {"ok" | "repaired" | "unparsed" | "failed"} status only the first two have scores
 * @property {number | null} semantic 0…10
 * @property {number | null} quality 0…10
 * @property {string} reasoning
 * @property {ChecklistItem[]} checklist
 * @property {string} note what was repaired, or what went wrong
 * @property {[number, number][]} [draws] semantic and quality of each answer; the scores are their means
 * @property {Region[]} [regions]
 */

/**
 * Where something is in an edit.
 *
 * @typedef {object} Region
 * @property {"wrong" | "changed" | "place"} kind still wrong, changed without being asked for, or where the edit belongs
 * @property {number[]} box left, top, right, bottom, as fractions of the image
 * @property {string} label
 */

/** @typedef {{text: string, met: boolean | null}} ChecklistItem null: the thinker did not say */

/**
 * How much of the source an edit left alone.
 *
 * @typedef {object} Preservation
 * @property {number} changed share of the image, 0…1
 * @property {number} outside_psnr dB of the rest
 * @property {boolean} unchanged nothing visible has changed
 */

/**
 * An edit compared side by side with the best of the earlier turns, in both orders.
 *
 * @typedef {object} Comparison
 * @property {number} turn of the earlier one
 * @property {number} candidate of the earlier one
 * @property {("earlier" | "later" | "same" | "")[]} answers what each order preferred; "" if that could not be read
 * @property {"earlier" | "later" | ""} kept "": the scores decide
 * @property {string} note what went wrong
 */

/** @typedef {"user" | "thinker" | "human"} PromptAuthor human: a person who stepped in while the loop ran */

/**
 * How an edit was actually sampled; unknown settings are left out.
 *
 * @typedef {object} SamplingSettings
 * @property {number} [steps]
 * @property {string} [sampler]
 * @property {number} [text_guidance]
 * @property {number} [image_guidance]
 * @property {number} [strength]
 * @property {string} [negative]
 */

/**
 * One edit with its critique.
 *
 * @typedef {object} Step
 * @property {number} turn 1…
 * @property {number} candidate 0… within its turn
 * @property {string} prompt
 * @property {PromptAuthor} prompt_by
 * @property {number} seed
 * @property {Critique} critique
 * @property {Critique | null} judge that of the independent judge, which the score then comes from
 * @property {Preservation} preservation
 * @property {number | null} score what steps are ranked by; null: nobody gave one
 * @property {number} edit_seconds
 * @property {number} think_seconds
 * @property {string} file name of the image in the run's folder
 * @property {SamplingSettings | null} settings
 * @property {Comparison} [comparison]
 * @property {number[][]} [focus] the boxes that the edit was held to
 * @property {boolean} [accepted] whether the run's rules found it good enough to stop
 */

/** @typedef {"accepted" | "turns" | "plateau" | "human" | "failed"} StopReason */

/**
 * The record of a run.
 *
 * @typedef {object} Trajectory
 * @property {string} instruction
 * @property {string} source name of the source image in the run's folder
 * @property {Step[]} steps
 * @property {number | null} best index of a step
 * @property {number | null} chosen index of the step that a person accepted
 * @property {StopReason | ""} stopped "" while it runs, or if it was interrupted
 * @property {string} message
 * @property {{editor?: string, thinker?: string, rules: {turns: number}}} options
 */

/**
 * A turn of a run.
 *
 * @typedef {object} Turn
 * @property {number} number 1…
 * @property {string} prompt
 * @property {PromptAuthor} promptBy
 * @property {number[]} steps indices into the record's steps
 * @property {number} lead index of the best of them, whose edit goes on
 * @property {Piece[]} diff against the prompt of the turn before; the first turn's against the instruction
 */

/**
 * @param {Trajectory} record
 * @returns {Turn[]}
 */
export function turnsOf(record) {
  /** @type {Turn[]} */
  const turns = [];
  record.steps.forEach((step, index) => {
    let turn = turns.at(-1);
    if (turn?.number !== step.turn) {
      const diff = diffOf(step, turn ? turn.prompt : record.instruction);
      turn = { number: step.turn, prompt: step.prompt, promptBy: step.prompt_by, steps: [], lead: index, diff };
      turns.push(turn);
    }
    turn.steps.push(index);
    if (isBetter(step, record.steps[turn.lead])) turn.lead = index;
  });
  return turns;
}

/** @type {WeakMap<Step, {before: string, diff: Piece[]}>} */
const diffs = new WeakMap(); // a run is redrawn again and again while it grows

/** @param {Step} step @param {string} before */
function diffOf(step, before) {
  const cached = diffs.get(step);
  if (cached?.before === before) return cached.diff;
  const diff = wordDiff(before, step.prompt);
  diffs.set(step, { before, diff });
  return diff;
}

/**
 * The loop's own order: an edit that was accepted, one that changed something, one that has a score, the higher score; ties
 * to the earlier.
 *
 * @param {Step} step
 * @param {Step} other
 */
function isBetter(step, other) {
  /** @type {(each: Step) => number[]} */
  const rank = ({ accepted, preservation, score }) =>
    [Boolean(accepted), !preservation.unchanged, score !== null, score ?? 0].map(Number);
  const [ours, theirs] = [rank(step), rank(other)];
  const differs = ours.findIndex((value, index) => value !== theirs[index]);
  return differs >= 0 && ours[differs] > theirs[differs];
}

/** The critique that a step's score comes from. @param {Step} step */
export const verdictOf = (step) => step.judge ?? step.critique;

/** @param {number | null | undefined} value */
export const formatNumber = (value) =>
  value === null || value === undefined ? "–" : String(Math.round(value * 10) / 10);

/** @param {number} count @param {string} noun */
export const plural = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

const AUTHORS = { user: "as you wrote it", thinker: "rewritten by the thinker", human: "edited by you" };

/** @param {PromptAuthor} promptBy */
export const describeAuthor = (promptBy) => AUTHORS[promptBy] ?? promptBy;

const END_LABELS = {
  accepted: "Accepted",
  turns: "All turns used",
  plateau: "No longer improving",
  human: "Stopped by you",
  failed: "The thinker failed",
};

/** How a run ended, in two or three words. @param {Trajectory} record */
export function endLabel(record) {
  if (!record.stopped) return "Not finished";
  if (record.stopped === "human" && record.chosen !== null) return "Accepted by you";
  return END_LABELS[record.stopped] ?? record.stopped;
}

/** Whether a step has a score: without one, its quality is unknown. @param {Step} step */
export const isJudged = (step) => step.score !== null;

/** What went wrong in a finished run, as sentences; "" if nothing did. @param {Trajectory} record */
export function troubleOf(record) {
  const result = record.best === null ? undefined : record.steps[record.best];
  const reason = record.stopped === "failed" ? record.message : "";
  if (!record.stopped || !result) return reason;
  if (!record.steps.some(isJudged)) return `${reason} No edit was judged.`.trim();
  if (!isJudged(result)) return `${reason} The result was not judged.`.trim();
  return reason && `${reason} The result is the best edit that was judged.`;
}

/**
 * The standard deviation of one of the two scores over a critique's draws; null for fewer than two.
 *
 * @param {Critique} critique
 * @param {0 | 1} which semantic, or quality
 */
export function spreadOf({ draws = [] }, which) {
  if (draws.length < 2) return null;
  const values = draws.map((draw) => draw[which]);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/** The result of a comparison, as sentences. @param {Comparison} comparison */
export function describeComparison({ turn, answers, kept, note }) {
  if (!kept) return `Compared with turn ${turn} without getting an answer: the scores decide. ${note}`.trim();
  if (kept === "later") return `Preferred to turn ${turn} in both orders.`;
  const agreed = answers.every((answer) => answer === "earlier");
  return agreed
    ? `Turn ${turn} was preferred in both orders.`
    : `Not preferred to turn ${turn} in both orders, so the earlier one is kept.`;
}

/** Why a step's scores are not to be taken at face value, as a sentence; "" if they are. @param {Step} step */
export function warningOf(step) {
  const verdict = verdictOf(step);
  if (step.preservation.unchanged) return "Nothing has changed, so this edit counts as failed.";
  if (verdict.status === "failed") return `The thinker did not answer. ${verdict.note}`.trim();
  if (verdict.status === "unparsed") return `The answer contained no scores. ${verdict.note}`.trim();
  if (verdict.status === "repaired") return verdict.note;
  return "";
}

/**
 * A step in one sentence, for screen readers.
 *
 * @param {Trajectory} record
 * @param {Turn} turn
 * @param {number} index of the step
 */
export function describeStep(record, turn, index) {
  const step = record.steps[index];
  const verdict = verdictOf(step);
  const scores =
    verdict.semantic === null
      ? "not judged"
      : `semantic ${formatNumber(verdict.semantic)}, quality ${formatNumber(verdict.quality)}`;
  const same = step.preservation.unchanged ? ", nothing changed" : "";
  const best = record.best === index ? (isJudged(step) ? ", best" : ", the result, not judged") : "";
  const candidate = turn.steps.length > 1 ? `, candidate ${step.candidate + 1} of ${turn.steps.length}` : "";
  return `Turn ${turn.number}${candidate}${best}${same}: ${scores}. Prompt: ${step.prompt}`;
}
