import assert from "node:assert/strict";
import { test } from "node:test";
import { formatFixed, formatMemory, formatScore, plural } from "../../../web/compare/record.mjs";

test("numbers are as people write them", () => {
  assert.deepEqual(
    [1, 0, 1234].map((count) => plural(count, "vote")),
    ["1 vote", "0 votes", "1,234 votes"],
  );
  assert.deepEqual(
    [-0.001, -0.01, 0, -0].map((value) => formatFixed(value, 2)),
    ["0.00", "-0.01", "0.00", "0.00"],
  );
  assert.equal(formatFixed(-0.2, 0), "0");
  assert.deepEqual([null, 10, 2 ** 25, 3 * 2 ** 29].map(formatMemory), ["not measured", "1 MiB", "32 MiB", "1.5 GiB"]);
  const measure = { id: "outside_psnr", title: "PSNR outside", help: "", digits: 1, unit: " dB" };
  assert.deepEqual(
    [99, undefined].map((value) => formatScore(value, measure)),
    ["99.0 dB", "not measured"],
  );
});
