import assert from "node:assert/strict";
import { test } from "node:test";
import { differenceColors, FULL } from "../../../web/viewer/difference.mjs";

const pixel = (...values) => Uint8ClampedArray.of(...values, 255);
const colorOf = (source, result) => [...differenceColors(pixel(...source), pixel(...result))];

test("rounding is no change: the source shows as a dark gray shadow", () => {
  const [red, green, blue, alpha] = colorOf([100, 100, 100], [102, 98, 100]);
  assert.ok(red === green && green === blue && red < 60);
  assert.equal(alpha, 255);
});

test("the channel that changed most counts, and grows lighter up to FULL", () => {
  const brightness = (difference) => colorOf([100, 100, 100], [100, 100 + difference, 101]).slice(0, 3);
  const sum = (difference) => brightness(difference).reduce((total, value) => total + value);
  const sums = [3, 10, 20, 40, FULL].map(sum);
  assert.deepEqual(
    sums,
    sums.toSorted((a, b) => a - b),
  );
  assert.ok(sums[0] < sums[4]);
  assert.deepEqual(brightness(FULL), [255, 255, 240]);
  assert.deepEqual(brightness(FULL + 60), brightness(FULL));
});

test("every pixel has its own color", () => {
  const source = Uint8ClampedArray.of(0, 0, 0, 255, 50, 50, 50, 255);
  const result = Uint8ClampedArray.of(0, 0, 0, 255, 250, 50, 50, 255);
  const colors = differenceColors(source, result);
  assert.equal(colors.length, 8);
  assert.deepEqual([...colors.slice(0, 3)], [14, 14, 14]);
  assert.deepEqual([...colors.slice(4, 7)], [255, 255, 240]);
});
