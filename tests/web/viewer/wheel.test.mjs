import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "../support/page.mjs";
import { captureScroll, captureWheel } from "../../../web/viewer/wheel.mjs";

let heard; // by the canvas
document.addEventListener("wheel", () => heard++);

beforeEach(() => {
  heard = 0;
  document.body.replaceChildren();
});

/** Turn the wheel over an element. */
function wheel(target, rest = {}) {
  const event = new Event("wheel", { bubbles: true, cancelable: true });
  Object.assign(event, { ctrlKey: false, metaKey: false, ...rest });
  target.dispatchEvent(event);
}

function box(scrollHeight) {
  const target = document.createElement("div");
  Object.defineProperty(target, "scrollHeight", { value: scrollHeight });
  Object.defineProperty(target, "clientHeight", { value: 100 });
  document.body.append(target);
  return target;
}

test("what scrolls keeps the wheel, also where the pointer is over what is inside", () => {
  const target = box(200);
  captureScroll(target);
  const inside = document.createElement("b");
  target.append(inside);
  wheel(target);
  wheel(inside);
  assert.equal(heard, 0);
});

test("what has nothing to scroll leaves it to the canvas, and so does a pinch", () => {
  const short = box(100);
  captureScroll(short);
  wheel(short);
  assert.equal(heard, 1);
  const long = box(200);
  captureScroll(long);
  wheel(long, { ctrlKey: true });
  wheel(long, { metaKey: true });
  assert.equal(heard, 3);
});

test("an element that nobody captures is the canvas's", () => {
  wheel(box(200));
  assert.equal(heard, 1);
});

test("a handler is asked before anybody else", () => {
  const target = box(100);
  const order = [];
  target.addEventListener("wheel", () => order.push("target"));
  captureWheel(target, () => order.push("handler"));
  wheel(target);
  assert.deepEqual(order, ["handler", "target"]);
});
