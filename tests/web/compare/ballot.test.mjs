import assert from "node:assert/strict";
import { test } from "node:test";
import { checkLine, currentVotes, preferencesOf, questionKey, questionsOf } from "../../../web/compare/ballot.mjs";
import { Comparison } from "../../../web/compare/record.mjs";

const VARIANTS = ["x", "y", "z"];
const TASKS = [...Array(20).keys()].map((number) => ({ id: `t${number}`, source: `s${number % 10}` }));

/** @param {(task: number, variant: string) => string | null} digest */
function compare(digest = (task, variant) => `${task}${variant}`) {
  const edits = TASKS.flatMap((task, number) =>
    VARIANTS.flatMap((variant) => {
      const found = digest(number, variant);
      return found === null ? [] : [{ task: task.id, variant, digest: found, file: `${task.id}-${variant}` }];
    }),
  );
  const record = { id: "c", tasks: TASKS, variants: VARIANTS.map((key) => ({ key })), edits, failed: [], measures: [] };
  return new Comparison(record, (file) => file);
}

const vote = (id, task, a, b, winner, voter = "me") => ({ id, voter, task, a, b, winner, at: "" });

test("a voter has an order and sides of his own, the same every time", () => {
  const comparison = compare();
  const mine = questionsOf(comparison, "me");
  assert.equal(new Set(mine.map(questionKey)).size, 60);
  assert.deepEqual(questionsOf(comparison, "me"), mine);
  assert.notDeepEqual(questionsOf(comparison, "you"), mine);
  const left = mine.filter(({ a, b }) => a < b).length;
  assert.ok(left > 15 && left < 45, `${left} of 60 have the first editor on the left`);
});

test("what looks the same, or is not there, is not asked", () => {
  const same = compare((task, variant) => (variant === "x" ? `${task}` : variant === "y" ? `${task}` : null));
  assert.equal(questionsOf(same, "me").length, 0);
  const some = compare((task, variant) => (variant === "z" && task ? null : `${task}${variant}`));
  assert.equal(questionsOf(some, "me").length, 20 + 2);
});

test("the last vote counts until it is taken back", () => {
  const lines = [vote("1", "t0", "x", "y", "a"), vote("2", "t0", "y", "x", "tie"), vote("1", "t0", "x", "y", "a")];
  assert.deepEqual(
    currentVotes(lines).map(({ id }) => id),
    ["2"],
  );
  const undone = [...lines, { id: "3", voter: "me", undo: "2" }, { id: "4", voter: "you", undo: "1" }];
  assert.deepEqual(
    currentVotes(undone).map(({ id }) => id),
    ["1"],
  );
});

test("votes are of this comparison, and by image where there are enough", () => {
  const votes = TASKS.map(({ id }, number) => vote(`${number}`, id, "x", "y", number % 2 ? "b" : "tie"));
  const { preferences, few } = preferencesOf(compare(), [...votes, vote("99", "gone", "x", "y", "a")]);
  assert.equal(preferences.length, 20);
  assert.deepEqual(preferences[1], { winner: "y", loser: "x", tie: false, cluster: "s1" });
  assert.deepEqual([few, preferences[0].tie], [false, true]);
  const other = preferencesOf(compare(), votes.slice(0, 7));
  assert.deepEqual([other.few, other.preferences[0].cluster], [true, null]);
});

test("only votes are votes", () => {
  const good = vote("1", "t0", "x", "y", "a");
  assert.deepEqual(checkLine({ ...good, more: 1 }), good);
  for (const bad of [null, "text", {}, { ...good, winner: "c" }, { ...good, b: "x" }, { ...good, id: "<b>" }])
    assert.equal(checkLine(bad), null);
  assert.deepEqual(checkLine({ id: "2", voter: "me", undo: "1" }), { id: "2", voter: "me", undo: "1", at: "" });
});
