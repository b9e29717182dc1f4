import assert from "node:assert/strict";
import { test } from "node:test";
import { describeEnd, describeScores, heldOutCurve, numbersOf, previewedSaves } from "../../../web/training/record.mjs";
import { save, training } from "../support/trainings.mjs";

test("the numbers of one that goes on, and of one that has ended", () => {
  const now = training([save(20, 0.25)]);
  assert.deepEqual(Object.fromEntries(numbersOf(now, true)), {
    step: "40 of 100",
    loss: "0.3",
    "held-out": "0.25",
    "learning rate": "1e−4",
    "samples/s": "8",
    left: "30 s",
    memory: "2.0 GiB",
  });
  const byAnother = training([save(20, 0.25)], { preview_editor: "distilled" });
  assert.equal(Object.fromEntries(numbersOf(byAnother, true))["previews by"], "distilled");
  const ended = training([], { step: 100, memory: 0 });
  assert.deepEqual(Object.keys(Object.fromEntries(numbersOf(ended, false))), [
    "step",
    "loss",
    "learning rate",
    "samples/s",
    "took",
  ]);
});

test("saves that were not measured have no place in the curve, those without edits none on the slider", () => {
  const saves = [save(10, 0.3), save(20, 0.2, { held_out: null, previews: [] })];
  assert.deepEqual(heldOutCurve(training(saves)), [[10, 0.3]]);
  assert.deepEqual(previewedSaves(training(saves)), [saves[0]]);
});

test("what was measured, in words", () => {
  assert.equal(
    describeScores({ changed: 0.826, kept: 0.99, thinker: 7 }),
    "83% of the change · 99% of the rest kept · thinker 7.0",
  );
  assert.equal(describeScores({ changed: 0, kept: null, thinker: null }), "0% of the change");
  assert.equal(describeScores(undefined), "");
});

test("which save is the best and why, and why it ended early", () => {
  const ended = training([], { best: 20, why: "the lowest loss", stopped: "Cancel at step 40" });
  assert.equal(describeEnd(ended, true), "Best so far: step 20, the lowest loss.");
  assert.equal(describeEnd(ended, false), "Stopped early: Cancel at step 40. Best: step 20, the lowest loss.");
  assert.equal(describeEnd(training(), true), "");
});
