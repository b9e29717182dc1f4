import assert from "node:assert/strict";
import { test } from "node:test";
import "../support/page.mjs";
import { describePreservation, describeSampling, stepPanel } from "../../../web/viewer/step_panel.mjs";
import { viewOf } from "../../../web/viewer/view.mjs";
import { critique, record, step } from "../support/records.mjs";

/** The panel of the first step of a run. */
function panelOf(...steps) {
  const view = viewOf(record(steps), (file) => file);
  const panel = document.createElement("div");
  panel.append(...stepPanel(view, view.turns[0], 0, (index) => (panel.selected = index)));
  return panel;
}

test("how an edit was sampled, with what is known alone", () => {
  assert.equal(describeSampling(step(1, 3)), "seed 7");
  const settings = {
    steps: 20,
    sampler: "default",
    text_guidance: 7.456,
    image_guidance: 0,
    strength: 0.6,
    negative: "a blur",
  };
  assert.equal(
    describeSampling(step(1, 3, { settings, edit_seconds: 1.2345, think_seconds: 12.6 })),
    "seed 7 · 20 steps · text guidance 7.46 · strength 0.6 · negative prompt “a blur” · edited in 1.2 s · judged in 13 s",
  );
  const both = step(1, 2, { judge: critique(2), critique: critique(9, 8) });
  assert.equal(describeSampling(both), "seed 7 · the thinker's own scores: 9 / 8");
});

test("how much of the image has stayed", () => {
  const rest = { outside_psnr: 41.26, unchanged: false };
  assert.equal(
    describePreservation({ changed: 0.123, ...rest }),
    "12.3 % of the image has changed; the rest is at 41.3 dB PSNR.",
  );
  assert.equal(describePreservation({ changed: 1, ...rest }), "The whole image has changed.");
});

test("a checklist says of every item whether it is met, to the eye and the ear", () => {
  const checklist = [
    { text: "it is red", met: true },
    { text: "it is round", met: false },
    { text: "it is a star", met: null },
  ];
  const items = panelOf(step(1, 3, { critique: critique(3, 3, { checklist }) })).querySelectorAll(".rt-checklist li");
  assert.deepEqual(
    [...items].map((item) => [item.dataset.met, item.textContent]),
    [
      ["true", "met: it is red"],
      ["false", "not met: it is round"],
      ["null", "not verified: it is a star"],
    ],
  );
});

test("candidates are buttons that lead to them", () => {
  const panel = panelOf(step(1, 3), step(1, 5, { candidate: 1 }));
  const buttons = [...panel.querySelectorAll(".rt-candidates button")];
  assert.deepEqual(
    buttons.map((button) => [button.getAttribute("aria-label"), button.getAttribute("aria-pressed")]),
    [
      ["Candidate 1, score 3", "true"],
      ["Candidate 2, score 5", "false"],
    ],
  );
  buttons[1].click();
  assert.equal(panel.selected, 1);
});

test("a step without scores has no bars, but a warning", () => {
  const panel = panelOf(step(1, null));
  assert.equal(panel.querySelector(".rt-bars"), null);
  assert.equal(panel.querySelector(".rt-warning").textContent, "The thinker did not answer.");
  assert.equal(panelOf(step(1, 3)).querySelector(".rt-warning"), null);
});

test("scores that are means show their spread", () => {
  const draws = [
    [4, 8],
    [6, 8],
  ];
  const panel = panelOf(step(1, 5, { critique: critique(5, 8, { draws }) }));
  const values = [...panel.querySelectorAll(".rt-bar b")].map((value) => value.textContent);
  assert.deepEqual(values, ["5 ± 1.4", "8 ± 0"]);
  assert.match(panel.querySelector(".rt-facts").textContent, /scores are the means of 2 answers/);
});

test("what came of showing two edits side by side", () => {
  const compared = (answers, kept, note = "") => {
    const comparison = { turn: 1, candidate: 0, answers, kept, note };
    const parts = [...panelOf(step(2, 5, { comparison })).querySelectorAll(".rt-part")];
    return parts.find((part) => part.textContent.startsWith("Side by side")).querySelector("p").textContent;
  };
  assert.equal(compared(["later", "later"], "later"), "Preferred to turn 1 in both orders.");
  assert.equal(compared(["earlier", "earlier"], "earlier"), "Turn 1 was preferred in both orders.");
  const unsure = "Not preferred to turn 1 in both orders, so the earlier one is kept.";
  assert.equal(compared(["later", "earlier"], "earlier"), unsure);
  const why = "Compared with turn 1 without getting an answer: the scores decide. It is gone.";
  assert.equal(compared(["", "later"], "", "It is gone."), why);
  assert.doesNotMatch(panelOf(step(1, 5)).textContent, /Side by side/);
});

test("boxes stand in words beside the image too", () => {
  const regions = [{ kind: "wrong", box: [0, 0, 1, 1], label: "the sky" }];
  const panel = panelOf(step(1, 5, { critique: critique(5, 5, { regions }), focus: [[0, 0, 1, 1]] }));
  const part = [...panel.querySelectorAll(".rt-part")].find((each) => each.textContent.startsWith("Boxes"));
  assert.equal(part.querySelector("li").textContent, "still wrong: the sky");
  assert.match(panel.querySelector(".rt-facts").textContent, /limited to the boxes of the previous turn/);
});
