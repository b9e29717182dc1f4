import assert from "node:assert/strict";
import { test } from "node:test";
import { describePair, describeVerdict } from "../../../web/pairs/review_text.mjs";

const pair = { operation: "color_cast", input_caption: "", target_caption: "", scores: {} };

test("a pair in one line: what made it, its captions, its scores", () => {
  assert.equal(describePair(pair), "color cast");
  const rest = { input_caption: "a cat", target_caption: "a dog", scores: { clip_sim_dir: 0.256, changed: 1 } };
  assert.equal(
    describePair({ ...pair, ...rest }),
    "color cast  ·  “a cat” → “a dog”  ·  direction 0.26  ·  changed 1.00",
  );
});

test("a verdict says whose it is", () => {
  assert.equal(describeVerdict({ by: "", state: "accepted", why: [] }), "Not judged yet");
  assert.equal(describeVerdict({ by: "person", state: "accepted", why: [] }), "✓ Accepted by you");
  assert.equal(describeVerdict({ by: "person", state: "rejected", why: [] }), "✕ Rejected by you");
  const filter = { by: "filter", state: "rejected", why: ["too small", "a copy"] };
  assert.equal(describeVerdict(filter), "✕ Rejected by the filter: too small; a copy");
});
