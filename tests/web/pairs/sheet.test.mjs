import assert from "node:assert/strict";
import { test } from "node:test";
import "../support/page.mjs";
import { isDark } from "../../../web/pairs/sheet.mjs";

test("a palette with light text is dark, whatever it is called", () => {
  assert.equal(isDark("rgb(221, 221, 221)"), true);
  assert.equal(isDark("rgba(20, 20, 20, 0.9)"), false);
  assert.equal(isDark("rgb(0, 128, 255)"), false);
});
