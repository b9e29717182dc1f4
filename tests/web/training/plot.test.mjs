import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatDuration,
  formatLoss,
  formatRate,
  nearestStep,
  pointsOf,
  rangeOf,
  scaleOf,
  stairsOf,
  ticksOf,
  valueAt,
} from "../../../web/training/plot.mjs";

const BOX = { left: 10, right: 110, top: 0, bottom: 50 };

test("steps go from left to right and values from the bottom up", () => {
  const scale = scaleOf(BOX, 11, [0, 1]);
  assert.equal(
    pointsOf(
      [
        [1, 0],
        [6, 0.5],
        [11, 1],
      ],
      scale,
    ),
    "10.0,50.0 60.0,25.0 110.0,0.0",
  );
  assert.equal(scale.y(7), 0, "what lies beyond is cut");
  assert.equal(scale.stepAt(60), 6);
  assert.equal(scaleOf(BOX, 1, [0, 1]).x(1), 10, "one step is no division by nothing");
});

test("values have room around them, also where all are the same", () => {
  const [low, high] = rangeOf([1, 2]);
  assert.ok(low < 1 && low > 0.8 && high > 2 && high < 2.2);
  for (const same of [0, 3, -3]) {
    const [below, above] = rangeOf([same, same]);
    assert.ok(below < same && above > same);
  }
});

test("ticks are round and within the bounds", () => {
  assert.deepEqual(ticksOf([0.012, 0.091]), [0.02, 0.04, 0.06, 0.08]);
  assert.deepEqual(ticksOf([0.19, 0.81]), [0.2, 0.4, 0.6, 0.8]);
  assert.deepEqual(ticksOf([0, 1]), [0, 0.5, 1]);
  assert.deepEqual(ticksOf([0.2981, 0.3019]), [0.299, 0.3, 0.301]);
});

test("a rate stays until the next one", () => {
  const rates = [
    [1, 0.1],
    [5, 0.01],
  ];
  assert.deepEqual(stairsOf(rates, 9), [
    [1, 0.1],
    [5, 0.1],
    [5, 0.01],
    [9, 0.01],
  ]);
  assert.equal(valueAt(rates, 4), 0.1);
  assert.equal(valueAt(rates, 5), 0.01);
  assert.equal(valueAt([], 5), undefined);
});

test("the nearest save", () => {
  assert.equal(nearestStep([10, 20, 30], 24), 20);
  assert.equal(nearestStep([], 24), undefined);
});

test("numbers as people read them", () => {
  assert.equal(formatLoss(0.0123456), "0.0123");
  assert.deepEqual([1e-4, 2.5e-5, 0.002, 0].map(formatRate), ["1e−4", "2.5e−5", "0.002", "0"]);
  assert.deepEqual([0.2, 42, 119, 3700].map(formatDuration), ["1 s", "42 s", "1 min", "1 h 1 min"]);
});
