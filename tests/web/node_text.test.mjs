import assert from "node:assert/strict";
import { test } from "node:test";
import "./support/page.mjs";
import { blocksOf, countLines } from "../../web/node_text.mjs";

test("a box is as high as its text, up to a limit", () => {
  assert.equal(countLines("one line"), 1);
  assert.equal(countLines("two\nlines"), 2);
  assert.equal(countLines("a\n\nb"), 3, "an empty line is a line");
  assert.equal(countLines("x".repeat(53)), 2, "a long line is broken");
  assert.equal(countLines("a\n".repeat(50)), 8);
  assert.equal(countLines(`name${" ".repeat(80)}10.0`), 1, "a row of a table is not broken");
});

test("a table is kept apart from the sentences around it", () => {
  const table = "              edits  judge\nbuilt-in          2   10.0";
  assert.deepEqual(blocksOf(`my comparison\n${table}\n\nNo votes yet.`), [
    ["rethink-prose", "my comparison"],
    ["rethink-table", table],
    ["rethink-prose", "\nNo votes yet."],
  ]);
  assert.deepEqual(blocksOf(""), []);
});
