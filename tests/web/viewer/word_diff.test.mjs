import assert from "node:assert/strict";
import { test } from "node:test";
import { wordDiff } from "../../../web/viewer/word_diff.mjs";

/** The pieces that changed, after checking that the others join to the newer prompt. */
function changes(before, after) {
  const pieces = wordDiff(before, after);
  const kept = pieces.filter(({ kind }) => kind !== "gone").map(({ text }) => text);
  assert.equal(kept.join(""), after);
  return pieces.filter(({ kind }) => kind !== "same").map(({ kind, text }) => `${kind}: ${text}`);
}

test("a prompt that stays has no marks", () => {
  assert.deepEqual(changes("make it red", "make it red"), []);
  assert.deepEqual(wordDiff("", ""), []);
});

test("words that came and went are marked", () => {
  assert.deepEqual(changes("make it red", "make the star red"), ["gone: it", "new: the star"]);
  assert.deepEqual(changes("a b c", "a c"), ["gone: b"]);
  assert.deepEqual(changes("a b", "a b c d"), ["new: c d"]);
});

test("a word that stayed by chance is no thread to read along", () => {
  assert.deepEqual(changes("make the big one red", "turn the small star blue, please"), [
    "gone: make the big one red",
    "new: turn the small star blue, please",
  ]);
});

test("white space is kept letter by letter, and stands outside of the marks", () => {
  assert.deepEqual(changes("", " add a  fox\n"), ["new: add a  fox"]);
  assert.deepEqual(wordDiff("a b c", "a x  b c"), [
    { kind: "same", text: "a " },
    { kind: "new", text: "x" },
    { kind: "same", text: "  b c" },
  ]);
});

test("a script without spaces is compared character by character", () => {
  assert.deepEqual(changes("把星星变红", "把月亮变红"), ["gone: 星星", "new: 月亮"]);
});

test("a comparison that would take long is none", () => {
  const many = Array.from({ length: 3000 }, (_, index) => `w${index}`);
  const start = process.cpuUsage();
  assert.deepEqual(
    wordDiff(many.join(" "), many.toReversed().join(" ")).map(({ kind }) => kind),
    ["gone", "new"],
  );
  assert.ok(process.cpuUsage(start).user < 5e6); // microseconds of this process, however busy the machine is
});
