import assert from "node:assert/strict";
import { test } from "node:test";
import "../support/page.mjs";
import { element, icon, oncePerFrame, setAttribute } from "../../../web/viewer/dom.mjs";

test("an element has attributes, listeners and children", () => {
  let clicks = 0;
  const attributes = { class: "a", hidden: true, title: null, disabled: false, tabindex: 0, onclick: () => clicks++ };
  const made = element("button", attributes, "text", null, undefined, [element("b", {}, "bold"), " more"]);
  assert.deepEqual(made.getAttributeNames().sort(), ["class", "hidden", "tabindex"]);
  assert.equal(made.getAttribute("hidden"), "");
  assert.equal(made.textContent, "textbold more");
  made.click();
  assert.equal(clicks, 1);
});

test("an attribute goes with false, null and undefined, and stays with 0", () => {
  const target = element("i", { title: "x" });
  for (const value of [false, null, undefined]) {
    setAttribute(target, "title", "x");
    setAttribute(target, "title", value);
    assert.equal(target.hasAttribute("title"), false);
  }
  setAttribute(target, "tabindex", 0);
  assert.equal(target.getAttribute("tabindex"), "0");
});

test("a style is set, and taken away with its attribute", () => {
  const target = element("i", { style: "color: red" });
  assert.equal(target.style.color, "red");
  setAttribute(target, "style", null);
  assert.equal(target.style.color, "");
});

test("an icon is decoration for the eye alone", () => {
  assert.equal(icon("star").getAttribute("aria-hidden"), "true");
});

test("work is done once before a frame, and again for the next", () => {
  const frames = [];
  globalThis.requestAnimationFrame = (callback) => frames.push(callback);
  let count = 0;
  const work = oncePerFrame(() => count++);
  for (let i = 0; i < 3; i++) work();
  assert.deepEqual([frames.length, count], [1, 0]);
  frames.pop()();
  assert.equal(count, 1);
  work();
  frames.pop()();
  assert.equal(count, 2);
});
