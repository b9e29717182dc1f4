/** A trajectory.json as the view reads it: by turns, each with its candidates, and in words. */

import { wordDiff } from "./words.mjs";

/**
 * The turns of a record: [{number, prompt, promptBy, steps, lead, diff}, …].
 * steps: indices into record.steps. lead: the index of the best of them, which goes on. diff: see `wordDiff`, against the
 * prompt of the turn before; the first turn's against the instruction.
 */
export function turnsOf(record) {
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

const diffs = new WeakMap(); // step → {before, diff}: a run is looked at again and again while it grows

function diffOf(step, before) {
  if (diffs.get(step)?.before !== before) diffs.set(step, { before, diff: wordDiff(before, step.prompt) });
  return diffs.get(step).diff;
}

/** The loop's own order: an edit that changed something, one that has a score, the higher score; ties to the earlier. */
function isBetter(step, other) {
  const rank = ({ preservation, score }) => [Number(!preservation.unchanged), Number(score !== null), score ?? 0];
  const [ours, theirs] = [rank(step), rank(other)];
  const differs = ours.findIndex((value, index) => value !== theirs[index]);
  return differs >= 0 && ours[differs] > theirs[differs];
}

/** The critique that a step's score comes from. */
export const verdictOf = (step) => step.judge ?? step.critique;

export const number = (value) => (value === null || value === undefined ? "–" : String(Math.round(value * 10) / 10));

const WRITERS = { user: "as you wrote it", thinker: "rewritten by the thinker", human: "edited by you" };
export const writerOf = (promptBy) => WRITERS[promptBy] ?? promptBy;

const ENDS = {
  accepted: "Accepted",
  turns: "All turns used",
  plateau: "No longer improving",
  human: "Stopped by you",
  failed: "The thinker failed",
};

/** How a run stands, in two or three words. */
export function endOf(record) {
  if (record.stopped === "human" && record.chosen !== null) return "Accepted by you";
  return ENDS[record.stopped] ?? record.stopped;
}

/** Whether anybody gave a step a score: without one it is not known to be any good. */
export const isJudged = (step) => step.score !== null;

/** What went wrong with a run that has ended, as sentences; "" when nothing did. */
export function troubleOf(record) {
  const result = record.steps[record.best];
  const why = record.stopped === "failed" ? record.message : "";
  if (!record.stopped || !result) return why;
  if (!record.steps.some(isJudged)) return `${why} No edit was judged.`.trim();
  if (!isJudged(result)) return `${why} The result was not judged.`.trim();
  return why && `${why} The best edit that was judged is the result.`;
}

/** What keeps a step from being taken at its scores, as a sentence; "" when nothing does. */
export function warningOf(step) {
  const verdict = verdictOf(step);
  if (step.preservation.unchanged) return "Nothing has changed, so this edit counts as failed.";
  if (verdict.status === "failed") return `The thinker did not answer. ${verdict.note}`.trim();
  if (verdict.status === "unparsed") return `The answer held no scores. ${verdict.note}`.trim();
  if (verdict.status === "repaired") return verdict.note;
  return "";
}

/** A step in one sentence, for those who do not see it. */
export function describe(record, turn, index) {
  const step = record.steps[index];
  const verdict = verdictOf(step);
  const scores =
    verdict.semantic === null
      ? "not judged"
      : `semantic ${number(verdict.semantic)}, quality ${number(verdict.quality)}`;
  const same = step.preservation.unchanged ? ", nothing changed" : "";
  const best = record.best === index ? (isJudged(step) ? ", best" : ", the result, not judged") : "";
  const candidate = turn.steps.length > 1 ? `, candidate ${step.candidate + 1} of ${turn.steps.length}` : "";
  return `Turn ${turn.number}${candidate}${best}${same}: ${scores}. Prompt: ${step.prompt}`;
}
