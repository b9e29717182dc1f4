import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { rank, winRate } from "../../../web/compare/preferences.mjs";

const CASES = JSON.parse(readFileSync(new URL("preferences.json", import.meta.url), "utf-8"));

test("it says what Python says", () => {
  for (const { names, votes, ratings, decided, more } of CASES) {
    const found = rank(
      votes.map(([winner, loser, tie, cluster]) => ({ winner, loser, tie, cluster })),
      names,
    );
    assert.deepEqual([found.decided, found.more], [decided, more]);
    found.ratings.forEach(({ name, score, low, high, wins, ties, losses }, index) => {
      const [theirs, ...figures] = ratings[index];
      assert.equal(name, theirs);
      [score, low, high, wins, ties, losses].forEach((value, at) =>
        assert.ok(
          Math.abs(value - figures[at]) <= 1e-6 * Math.abs(figures[at]) + 1e-9,
          `${value} is not ${figures[at]}`,
        ),
      );
    });
  }
});

test("without votes nothing is known", () => {
  const { ratings, decided, more } = rank([], ["a", "b"]);
  assert.deepEqual([ratings.map(winRate), decided, more], [[null, null], false, null]);
});
