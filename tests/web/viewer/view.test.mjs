import assert from "node:assert/strict";
import { test } from "node:test";
import "../support/page.mjs";
import { firstChoice, summarize, viewOf } from "../../../web/viewer/view.mjs";
import { record, step } from "../support/records.mjs";

const address = (file) => `/view?${file}`;
const live = (turn) => ({
  next: { turn, prompt: "next", prompt_by: "thinker" },
  phase: "editing",
  waiting: false,
  images: [],
  preview: null,
});
const textOf = (view) =>
  summarize(view)
    .map((part) => part.textContent ?? part)
    .join("");

test("a turn is pending until it has a step", () => {
  const run = record([step(1, 3)], { stopped: "" });
  assert.equal(viewOf(run, address).pending, null);
  assert.equal(viewOf(run, address, live(2)).pending.turn, 2);
  assert.equal(viewOf(run, address, live(1)).pending, null, "its step has come, the next turn has not begun");
  assert.equal(viewOf(record([]), address, live(1)).pending.turn, 1);
});

test("who opens a run looks at its best step, else the last", () => {
  const steps = [step(1, 3), step(2, 2)];
  assert.equal(firstChoice(viewOf(record(steps), address)), 0);
  assert.equal(firstChoice(viewOf(record(steps, { best: null }), address)), 1);
  assert.equal(firstChoice(viewOf(record([]), address)), -1);
});

test("how a run stands in one line", () => {
  const steps = [step(1, 3), step(2, 8)];
  assert.equal(
    textOf(viewOf(record(steps, { message: "Both scores are reached." }), address)),
    "Accepted 2 turns · Both scores are reached · an editor + a thinker",
  );
  assert.equal(
    textOf(viewOf(record([], { stopped: "" }), address, live(1))),
    "Running 0 turns · an editor + a thinker",
  );
  const options = { editor: "one", thinker: "one", rules: { turns: 1 } };
  assert.match(textOf(viewOf(record(steps, { options }), address)), / · one$/, "a model of both trades is named once");
});

test("the mark at a run's end says how it went", () => {
  const kind = (rest) => summarize(viewOf(record([step(1, 3)], rest), address))[0].getAttribute("data-kind");
  assert.equal(kind({}), "good");
  assert.equal(kind({ stopped: "turns" }), "plain");
  assert.equal(kind({ stopped: "human", chosen: 0 }), "good");
  assert.equal(kind({ stopped: "failed" }), "failed");
  assert.equal(kind({ stopped: "" }), null);
});
