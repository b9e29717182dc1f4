import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "../support/page.mjs";
import { addTrainingView, restoreTrainings, showTraining, watchTrainings } from "../../../web/training/monitor.mjs";
import { api, app, settle } from "../support/comfyui.mjs";
import { Graph } from "../support/graph.mjs";
import { save, training } from "../support/trainings.mjs";

const run = { filename: "training.json", subfolder: "rethink/training/mine-01", type: "output" };
const SAVES = [save(20, 0.25), save(40, 0.3)];
let node;

watchTrainings();

beforeEach(() => {
  sessionStorage.clear();
  api.reset({ "/rethink/trainings": [] });
  app.rootGraph = new Graph("graph");
  node = app.rootGraph.node(1, { type: "RethinkTrainEditLora" });
  addTrainingView(node);
});

const part = (selector) => node.widgets.at(-1).element.querySelector(selector);
const textOf = (selector) => (part(selector).closest("[hidden]") ? "" : part(selector).textContent);
const sources = () =>
  [...node.widgets.at(-1).element.querySelectorAll("img")].map((image) => image.getAttribute("src"));

function send(view, more = {}) {
  api.send("rethink.training", { node: "1", workflow: "graph", run, view, live: true, line: "", ...more });
}

test("a node says what will be there, then what it is at, then the numbers", () => {
  assert.match(textOf(".rethink-empty"), /appear here/);
  send(null, { line: "3 of 9 pairs encoded", run: null });
  assert.equal(textOf(".rethink-line-now"), "3 of 9 pairs encoded");
  assert.equal(textOf(".rethink-empty"), "");
  send(training());
  assert.match(textOf(".rethink-numbers"), /^step40 of 100loss0\.3/);
  assert.equal(textOf(".rethink-line-now"), "");
  assert.equal(textOf(".rethink-slider"), "", "there is nothing to slide over yet");
});

test("the newest save is in view while it learns, and the best one in the end", () => {
  send(training(SAVES, { best: 20, why: "the lowest" }));
  assert.equal(textOf(".rethink-save b"), "step 40");
  send(training(SAVES, { best: 20, why: "the lowest" }), { live: false });
  assert.equal(textOf(".rethink-save b"), "step 20 ★ best");
  assert.equal(textOf(".rethink-end"), "Best: step 20, the lowest.");
});

test("who looks at a save goes on looking at it", () => {
  send(training(SAVES, { best: 20 }));
  const slider = part("input[type=range]");
  slider.value = "0";
  slider.dispatchEvent(new Event("input"));
  assert.equal(textOf(".rethink-save b"), "step 20 ★ best");
  send(training([...SAVES, save(60, 0.2)], { best: 60 }));
  assert.equal(textOf(".rethink-save b"), "step 20");
});

test("input, target, editor alone and the save lie side by side, and stay while they are the same", () => {
  send(training(SAVES, { best: 20 }));
  const folder = "subfolder=rethink%2Ftraining%2Fmine-01%2Fpreviews";
  assert.deepEqual(
    [sources()[0], sources()[3]],
    [`/api/view?filename=in.png&${folder}&type=output`, `/api/view?filename=0-step-40.png&${folder}&type=output`],
  );
  const first = part("img");
  send(training(SAVES, { best: 20 }));
  assert.equal(part("img"), first);
});

test("what a pair is edited with lies small above it", () => {
  const seen = () => [...part(".rethink-references").querySelectorAll("img")].map((image) => image.alt);
  send(training(SAVES));
  assert.deepEqual(seen(), []);
  const view = training(SAVES);
  view.shown[0].references = ["previews/0-image2.png", "previews/0-image3.png"];
  send(view);
  assert.deepEqual(seen(), ["image 2", "image 3"]);
  const first = part(".rethink-references img");
  send(view);
  assert.equal(part(".rethink-references img"), first, "and stays while it is the same");
});

test("a training of another graph is not ours, whatever the ids of its nodes", () => {
  send(training(), { workflow: "another" });
  assert.match(textOf(".rethink-empty"), /appear here/);
});

test("what a node puts out is read from its record, and found again after a reload", async () => {
  api.reset({ "/rethink/training": training(SAVES, { best: 20 }), "/rethink/trainings": [] });
  showTraining(node, { rethink_training: [run] });
  await settle();
  assert.equal(textOf(".rethink-save b"), "step 20 ★ best");
  node = app.rootGraph.node(1, { type: "RethinkTrainEditLora" }); // as when the page is loaded again
  addTrainingView(node);
  await restoreTrainings();
  assert.equal(textOf(".rethink-save b"), "step 20 ★ best");
});

test("one that goes on is found by a page that was loaded meanwhile", async () => {
  const event = { node: "1", workflow: "graph", run, view: training(SAVES), live: true, line: "" };
  api.reset({ "/rethink/trainings": [event] });
  await restoreTrainings();
  assert.equal(textOf(".rethink-save b"), "step 40");
  showTraining(node, { rethink_training: [run] }); // of the history: an older one
  await settle();
  assert.equal(textOf(".rethink-save b"), "step 40");
});

test("a record that is gone is said", async () => {
  showTraining(node, { rethink_training: [run] });
  await settle();
  assert.match(textOf(".rethink-empty"), /no longer in its folder/);
});
