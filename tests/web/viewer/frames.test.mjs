import assert from "node:assert/strict";
import { test } from "node:test";
import "../support/page.mjs";
import {
  fromFirstChange,
  levelOf,
  pendingFrame,
  promptText,
  spacePieces,
  turnFrame,
} from "../../../web/viewer/frames.mjs";
import { viewOf } from "../../../web/viewer/view.mjs";
import { record, step } from "../support/records.mjs";

const image = (address) => Object.assign(document.createElement("img"), { src: address });
const address = (file) => `/view?${file}`;
const same = (text) => ({ kind: "same", text });
const added = (text) => ({ kind: "new", text });
const gone = (text) => ({ kind: "gone", text });

test("scores are colored by level", () => {
  assert.deepEqual([10, 8, 7.9, 5, 4.9, 0].map(levelOf), ["high", "high", "middle", "middle", "low", "low"]);
});

test("a long prompt starts at about its first change", () => {
  const long = "one two three four five six seven eight nine ten eleven ";
  const [first, ...others] = fromFirstChange([same(long), added("twelve")]);
  assert.match(first.text, /^… \S/);
  assert.ok(long.endsWith(first.text.slice(2)) && first.text.length < 30);
  assert.deepEqual(others, [added("twelve")]);
});

test("a prompt without a change, with one at its start, or a short one is shown from its start", () => {
  const long = same("a word and ".repeat(10));
  for (const pieces of [[long], [added("now "), long], [same("make it "), added("red")]])
    assert.equal(fromFirstChange(pieces), pieces);
});

test("a space stands between what is gone and what has come, once", () => {
  const text = (pieces) =>
    spacePieces(pieces)
      .map((piece) => piece.text ?? piece)
      .join("");
  assert.equal(text([same("make "), gone("it"), added("this"), same(" red")]), "make it this red");
  assert.equal(text([gone("a "), added("b")]), "a b");
});

test("a prompt in full shows what is gone, a short one has the whole text as its tooltip", () => {
  const diff = [same("make "), gone("it"), added("this"), same(" red")];
  const full = promptText(diff, true, "x");
  assert.equal(full.querySelector("del").textContent, "it");
  assert.equal(full.querySelector("ins").textContent, "this");
  const short = promptText(diff, false, "x");
  assert.equal(short.textContent, "make this red");
  assert.equal(short.title, "make this red");
});

test("a turn's frame says whether it is the best, and whether anybody says so", () => {
  const frameOf = (run, place) => {
    const view = viewOf(run, address);
    return turnFrame(view, view.turns[place], image, {});
  };
  const run = record([step(1, 8), step(2, 3)]);
  assert.ok(frameOf(run, 0).querySelector(".rt-star"));
  assert.ok(!frameOf(run, 1).querySelector(".rt-star"));
  const unjudged = frameOf(record([step(1, null)]), 0);
  assert.ok(!unjudged.querySelector(".rt-star"));
  assert.equal(unjudged.querySelector(".rt-chips").textContent, "result, not judged");
  assert.equal(unjudged.querySelector(".rt-unscored").textContent, "not judged");
});

test("the next turn shows what there is of it: nothing, a preview, its images", () => {
  const live = {
    next: { turn: 1, prompt: "next", prompt_by: "user" },
    phase: "editing",
    waiting: false,
    images: [],
    preview: null,
  };
  const frameOf = (rest) => pendingFrame(viewOf(record([]), address, { ...live, ...rest }), image);
  assert.ok(frameOf({}).querySelector(".rt-spinner"));
  assert.ok(frameOf({ waiting: true }).querySelector(".rt-pulse"));
  assert.equal(frameOf({ preview: "/preview/3" }).querySelector("img").getAttribute("src"), "/preview/3");
  const looking = frameOf({ images: ["a.png", "b.png"], preview: "/preview/3" });
  assert.match(looking.querySelector("img").src, /a\.png$/);
  assert.equal(looking.querySelector(".rt-chips").textContent, "looking…2 candidates");
});
