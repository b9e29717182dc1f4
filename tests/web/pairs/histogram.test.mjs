import assert from "node:assert/strict";
import { test } from "node:test";
import { formatThreshold, histogramOf, roundThreshold } from "../../../web/pairs/histogram.mjs";

const BINS = [
  [0.2, 1],
  [0.4, 4],
  [0.6, 0],
];
const near = (actual, expected) => assert.ok(Math.abs(actual - expected) < 1e-9, `${actual} is not ${expected}`);

test("bars stand where their scores are, within the plot", () => {
  const { low, high, bars } = histogramOf(BINS, 0.5);
  const place = (score) => (score - low) / (high - low);
  bars.forEach(({ left, width, middle }, index) => {
    near(left, place(BINS[index][0]));
    near(middle, BINS[index][0] + 0.1);
    assert.ok(left > 0 && left + width < 1);
  });
});

test("heights go by the square root, so that few are seen beside many", () => {
  assert.deepEqual(
    histogramOf(BINS, 0.5).bars.map(({ height }) => height),
    [0.5, 1, 0],
  );
});

test("a threshold that no score reaches is on the scale all the same", () => {
  for (const threshold of [-1, 0.5, 3]) {
    const { low, high } = histogramOf(BINS, threshold);
    assert.ok(low < Math.min(0.2, threshold) && high > Math.max(0.8, threshold));
  }
});

test("a threshold has the decimals that its plot can tell apart", () => {
  assert.equal(roundThreshold(0.123456, { low: 0, high: 1 }, {}), 0.123);
  assert.equal(roundThreshold(0.00123456, { low: 0, high: 0.01 }, {}), 0.0012);
  assert.equal(roundThreshold(512.4, { low: 0, high: 2000 }, {}), 512);
  assert.equal(roundThreshold(5.4, { low: 0, high: 10 }, { precision: 0 }), 5);
});

test("a threshold stays within its number field, else within its plot", () => {
  const scale = { low: -0.5, high: 1.5 };
  assert.equal(roundThreshold(1.4, scale, { min: 0, max: 1 }), 1);
  assert.equal(roundThreshold(-0.4, scale, { min: 0, max: 1 }), 0);
  assert.equal(roundThreshold(9, scale, {}), 1.5);
});

test("a threshold says on which side of it pairs are kept", () => {
  assert.equal(formatThreshold(0.12345, true), "≥ 0.123");
  assert.equal(formatThreshold(20, false), "≤ 20");
});
