import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "./support/page.mjs";
import { addDisplay, restoreRuns, showExecuted, showOutputs } from "../../web/node_runs.mjs";
import { findLiveRuns, watchRuns } from "../../web/run_events.mjs";
import { liveRuns, referenceOf } from "../../web/runs.mjs";
import { api, app, settle } from "./support/comfyui.mjs";
import { Graph } from "./support/graph.mjs";
import { record, step } from "./support/records.mjs";

const TYPE = "RETHINK_TRAJECTORY";
const NAME = "output/rethink/thinking_00001_";
const run = referenceOf(NAME);
const files = new Map(); // subfolder → record
let think, viewer, other;
let delay; // before the server answers

globalThis.fetch = async (address) => {
  const found = files.get(new URL(address, "http://comfyui.test").searchParams.get("subfolder"));
  await delay;
  return found ? new Response(JSON.stringify(found)) : new Response("", { status: 404 });
};
watchRuns();

beforeEach(() => {
  sessionStorage.clear();
  liveRuns.clear();
  files.clear();
  files.set(run.subfolder, record([step(1, 3)]));
  api.reset({ "/rethink/running": [] });
  app.rootGraph = new Graph("graph");
  think = app.rootGraph.node(1, { type: "RethinkThinkWhileEdit", outputs: [TYPE] });
  viewer = app.rootGraph.node(2, { type: "RethinkTrajectoryViewer", inputs: [TYPE] });
  other = app.rootGraph.node(3, { type: "RethinkTrajectoryViewer", inputs: [TYPE] });
  think.connect(0, viewer, 0);
  for (const node of [think, viewer, other]) addDisplay(node);
});

/** What is to be read on a node. */
const textOn = (node) => {
  const { element } = node.widgets.at(-1);
  const parts = [".rt-idle", ".rt-status", ".rt-ending"].map((part) => element.querySelector(part));
  return parts
    .filter((part) => !part.closest("[hidden]"))
    .map((part) => part.textContent)
    .join(" | ");
};

const start = (rest = {}) => ({
  node: "1",
  run,
  record: record([], { stopped: "" }),
  next: null,
  workflow: "graph",
  prompt: "p1",
  waiting: false,
  phase: "editing",
  images: [],
  preview: 0,
  ...rest,
});

async function send(event, detail) {
  api.send(`rethink.${event}`, { node: "1", run, ...detail });
  await settle();
}

test("a run shows on the node that runs and right behind it, and nowhere else", async () => {
  await send("began", start());
  for (const node of [think, viewer]) assert.equal(textOn(node), "Turn 1 of 5 · editing");
  assert.match(textOn(other), /^The turns of a run appear here/);
});

test("a run of another graph is not ours, whatever the ids of its nodes", async () => {
  await send("began", start({ workflow: "another" }));
  assert.match(textOn(think), /^The turns of a run appear here/);
  await send("phase", { phase: "thinking", turn: 1, images: [] });
  assert.equal(liveRuns.size, 0);
});

test("messages move a run on to its end", async () => {
  await send("began", start());
  await send("phase", { phase: "thinking", turn: 1, images: ["a.png"] });
  assert.equal(textOn(viewer), "Turn 1 of 5 · the thinker is looking");
  await send("step", { index: 0, step: step(1, 4), best: 0 });
  await send("next", { turn: 2, prompt: "more", prompt_by: "thinker", ends: "", waiting: true });
  assert.equal(textOn(viewer), "Turn 2 of 5 · waiting for you");
  await send("next", { turn: 2, prompt: "more", prompt_by: "thinker", ends: "plateau", waiting: true });
  assert.equal(textOn(viewer), "Turn 2 of 5 · no longer improving; waiting for you");
  await send("phase", { phase: "editing", turn: 3, images: [] });
  assert.equal(textOn(viewer), "Turn 3 of 5 · editing", "the message about the turn was missed");
  await send("ended", { best: 0, chosen: 0, stopped: "human", message: "" });
  assert.equal(textOn(viewer), "Accepted by you 1 turn · an editor + a thinker");
  assert.equal(liveRuns.size, 0);
  await send("phase", { phase: "editing", turn: 9, images: [] });
  assert.match(textOn(viewer), /^Accepted by you/, "what comes late changes nothing");
});

test("steps that were missed are read from the record", async () => {
  await send("began", start());
  files.set(run.subfolder, record([step(1, 3), step(2, 4)], { stopped: "" }));
  await send("step", { index: 1, step: step(2, 4), best: 1 });
  await send("ended", { best: 1, chosen: null, stopped: "turns", message: "" });
  assert.match(textOn(viewer), /^All turns used 2 turns/);
});

test("a run that shows on another node moves there, too", async () => {
  showOutputs({ 3: { rethink_run: [NAME] } });
  await settle();
  assert.match(textOn(other), /^Accepted 1 turn/);
  await send("began", start({ record: record([step(1, 3)], { stopped: "" }) }));
  assert.equal(textOn(other), "Turn 2 of 5 · editing");
});

test("a run that was cut off stands as its record does", async () => {
  await send("began", start());
  files.set(run.subfolder, record([step(1, 3)], { stopped: "" }));
  await findLiveRuns();
  assert.match(textOn(viewer), /^Not finished 1 turn/);
});

test("a run that begins while the server is asked which go on stays live", async () => {
  const answered = findLiveRuns();
  await send("began", start());
  await answered;
  assert.equal(textOn(viewer), "Turn 1 of 5 · editing");
  assert.equal(liveRuns.size, 1);
});

test("a run that ends while the server is asked which go on stays ended", async () => {
  await send("began", start());
  api.reset({ "/rethink/running": [start()] });
  const answered = findLiveRuns();
  await send("ended", { best: 0, chosen: null, stopped: "turns", message: "" });
  await answered;
  assert.equal(liveRuns.size, 0);
});

test("a page that is loaded again finds what goes on", async () => {
  const next = { turn: 2, prompt: "more", prompt_by: "thinker", ends: "" };
  api.reset({ "/rethink/running": [start({ record: record([step(1, 3)], { stopped: "" }), next, waiting: true })] });
  await findLiveRuns();
  assert.equal(textOn(viewer), "Turn 2 of 5 · waiting for you");
  assert.deepEqual(api.requests, [["/rethink/running?client=client"]]);
});

test("the queue is asked about runs only while one goes on", async () => {
  api.send("status", {});
  assert.deepEqual(api.requests, []);
  await send("began", start());
  api.send("status", {});
  assert.equal(api.requests.length, 1);
});

test("previews of nodes belong to the loop around them", async () => {
  const options = { editor: "workflow", thinker: "a", rules: { turns: 5 } };
  await send("began", start({ record: record([], { stopped: "", options }) }));
  const preview = () => [...liveRuns.values()][0].live.preview;
  api.send("b_preview_with_metadata", { blob: new Blob(["x"]), jobId: "another" });
  assert.equal(preview(), null);
  api.send("b_preview_with_metadata", { blob: new Blob(["x"]), jobId: "p1" });
  assert.match(preview(), /^blob:/);
});

test("a run that has ended shows by its record, where the graph is its own", async () => {
  api.reset({ "/jobs/p1": { workflow_id: "graph" }, "/jobs/p2": { workflow_id: "another" } });
  await showExecuted({ prompt_id: "p2", node: "1", output: { rethink_run: [NAME] } });
  await settle();
  assert.match(textOn(think), /^The turns of a run appear here/);
  await showExecuted({ prompt_id: "p1", node: "1.0.2", display_node: "1", output: { rethink_run: [NAME] } });
  await settle();
  assert.match(textOn(think), /^Accepted 1 turn/);
});

test("a node shows what it was asked for last", async () => {
  files.set("second", record([step(1, 3), step(2, 4)]));
  let answer;
  delay = new Promise((resolve) => {
    answer = resolve;
  });
  showOutputs({ 2: { rethink_run: [NAME] } });
  await settle();
  delay = null;
  showOutputs({ 2: { rethink_run: ["output/second"] } });
  await settle();
  answer();
  await settle();
  assert.match(textOn(viewer), /^Accepted 2 turns/, "whichever record comes first");
});

test("a record that is gone is said to be gone", async () => {
  files.clear();
  showOutputs({ 2: { rethink_run: [NAME] } });
  await settle();
  assert.equal(textOn(viewer), "The record of this run is no longer in its folder.");
});

test("a graph that is loaded again shows what it showed, and nothing of another", async () => {
  showOutputs({ 2: { rethink_run: [NAME] } });
  await settle();
  restoreRuns();
  await settle();
  assert.match(textOn(viewer), /^Accepted 1 turn/);
  app.rootGraph.id = "another";
  restoreRuns();
  await settle();
  assert.match(textOn(viewer), /^The turns of a run appear here/);
});
