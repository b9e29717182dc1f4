import assert from "node:assert/strict";
import { test } from "node:test";
import "../support/page.mjs";
import { Sheet, isDark } from "../../../web/pairs/sheet.mjs";

test("a palette with light text is dark, whatever it is called", () => {
  assert.equal(isDark("rgb(221, 221, 221)"), true);
  assert.equal(isDark("rgba(20, 20, 20, 0.9)"), false);
  assert.equal(isDark("rgb(0, 128, 255)"), false);
});

test("references lie below both images of a card, so that the two stay side by side", async () => {
  const pair = {
    instruction: "put it on",
    input: "a",
    references: ["c", "d"],
    target: "b",
    state: "",
    by: "",
    why: [],
  };
  const reply = { pairs: [pair], counts: { all: 1, rejected: 0 } };
  globalThis.fetch = async () => ({ ok: true, json: async () => reply });
  const sheet = new Sheet();
  await sheet.show({ key: "all", sheet: "few", name: "mine", count: 1 });
  const [input, , target, below] = sheet.element.querySelector(".rethink-two").children;
  assert.deepEqual([input.alt, target.alt, below.className], ["input", "target", "rethink-references"]);
  assert.deepEqual(
    [...below.children].map((image) => image.alt),
    ["image 2", "image 3"],
  );
  sheet.remove();
});
