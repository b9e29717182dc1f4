import assert from "node:assert/strict";
import { test } from "node:test";
import {
  describeStep,
  endLabel,
  formatNumber,
  plural,
  troubleOf,
  turnsOf,
  verdictOf,
  warningOf,
} from "../../../web/viewer/trajectory.mjs";
import { critique, record, step } from "../support/records.mjs";

const unchanged = { preservation: { changed: 0, outside_psnr: 99, unchanged: true } };

/** The index of the step that leads a turn of candidates. */
const leadOf = (...steps) => turnsOf(record(steps))[0].lead;

test("steps come by turns, each with its candidates", () => {
  const turns = turnsOf(record([step(1, 3), step(1, 5, { candidate: 1 }), step(2, 4, { prompt: "make it blue" })]));
  assert.deepEqual(
    turns.map(({ number, steps, lead, prompt }) => ({ number, steps, lead, prompt })),
    [
      { number: 1, steps: [0, 1], lead: 1, prompt: "prompt 1" },
      { number: 2, steps: [2], lead: 2, prompt: "make it blue" },
    ],
  );
  assert.deepEqual(turnsOf(record([])), []);
});

test("a prompt is compared with the turn before, the first one with the instruction", () => {
  const steps = [step(1, 3, { prompt: "make it red" }), step(2, 4, { prompt: "make it dark red" })];
  const marks = turnsOf(record(steps)).map(({ diff }) => diff.filter(({ kind }) => kind === "new"));
  assert.deepEqual(marks, [[], [{ kind: "new", text: "dark" }]]);
});

test("a prompt is compared once, and again when it follows another", () => {
  const [first, second] = [step(1, 3, { prompt: "make it red" }), step(2, 4, { prompt: "make it dark red" })];
  const [, before] = turnsOf(record([first, second]));
  assert.equal(turnsOf(record([first, second]))[1].diff, before.diff);
  const other = step(1, 3, { prompt: "make it dark" });
  assert.notDeepEqual(turnsOf(record([other, second]))[1].diff, before.diff);
});

test("the best candidate leads as in the loop: accepted, changed, scored, higher, earlier", () => {
  assert.equal(leadOf(step(1, 9), step(1, 8, { accepted: true })), 1, "at an accepted edit the run stops");
  assert.equal(leadOf(step(1, 5), step(1, 5)), 0, "ties go to the earlier");
  assert.equal(leadOf(step(1, 5), step(1, 6)), 1);
  assert.equal(leadOf(step(1, 9, unchanged), step(1, null)), 1, "no change is no edit, whatever its score");
  assert.equal(leadOf(step(1, null), step(1, 0)), 1, "a score of 0 is a score");
  assert.equal(leadOf(step(1, null), step(1, null)), 0);
  assert.equal(leadOf(step(1, -3), step(1, -1)), 1);
});

test("the verdict is the judge's, where there is one", () => {
  const judge = critique(2);
  assert.equal(verdictOf(step(1, 2, { judge })), judge);
  assert.equal(verdictOf(step(1, 2)).semantic, 2);
});

test("how a run ended", () => {
  const label = (stopped, chosen = null) => endLabel(record([step(1, 3)], { stopped, chosen }));
  assert.equal(label("accepted"), "Accepted");
  assert.equal(label("human"), "Stopped by you");
  assert.equal(label("human", 0), "Accepted by you");
  assert.equal(label(""), "Not finished");
  assert.equal(label("something newer"), "something newer");
});

test("what went wrong with a run is told, and only that", () => {
  const [good, unjudged] = [step(1, 8), step(2, null)];
  const failed = { stopped: "failed", message: "The server is gone." };
  assert.equal(troubleOf(record([good])), "");
  assert.equal(troubleOf(record([unjudged], { stopped: "" })), "", "it is going on");
  assert.equal(troubleOf(record([unjudged])), "No edit was judged.");
  assert.equal(troubleOf(record([good, unjudged], { best: 1 })), "The result was not judged.");
  assert.equal(troubleOf(record([], failed)), "The server is gone.");
  assert.equal(troubleOf(record([unjudged], failed)), "The server is gone. No edit was judged.");
  assert.equal(troubleOf(record([good], failed)), "The server is gone. The result is the best edit that was judged.");
});

test("a warning says why a step cannot be taken at its scores", () => {
  const warning = (status, note = "") => warningOf(step(1, null, { critique: critique(null, null, { status, note }) }));
  assert.equal(warning("ok"), "");
  assert.equal(warning("repaired", "A bracket was missing."), "A bracket was missing.");
  assert.equal(warning("failed", "It timed out."), "The thinker did not answer. It timed out.");
  assert.equal(warning("unparsed"), "The answer contained no scores.");
  assert.equal(warningOf(step(1, 9, unchanged)), "Nothing has changed, so this edit counts as failed.");
});

test("a step in one sentence", () => {
  const steps = [step(1, 7.25), step(1, null, { candidate: 1, ...unchanged })];
  const run = record(steps);
  const [turn] = turnsOf(run);
  assert.equal(
    describeStep(run, turn, 0),
    "Turn 1, candidate 1 of 2, best: semantic 7.3, quality 7.3. Prompt: prompt 1",
  );
  assert.equal(describeStep(run, turn, 1), "Turn 1, candidate 2 of 2, nothing changed: not judged. Prompt: prompt 1");
  const alone = record([step(1, null)]);
  assert.equal(
    describeStep(alone, turnsOf(alone)[0], 0),
    "Turn 1, the result, not judged: not judged. Prompt: prompt 1",
  );
});

test("numbers and counts in words", () => {
  assert.deepEqual([7, 7.25, 0, null, undefined].map(formatNumber), ["7", "7.3", "0", "–", "–"]);
  assert.deepEqual(
    [0, 1, 2].map((count) => plural(count, "turn")),
    ["0 turns", "1 turn", "2 turns"],
  );
});
