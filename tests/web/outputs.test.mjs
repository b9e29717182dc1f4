import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { deliverHistory, deliverOutputs, onOutput, watchOutputs } from "../../web/outputs.mjs";
import { api, app } from "./support/comfyui.mjs";
import { Graph } from "./support/graph.mjs";

let seen;
onOutput((node, outputs) => seen.push([node.id, outputs]));

beforeEach(() => {
  seen = [];
  app.rootGraph = new Graph("graph");
});

const ours = (id, type = "RethinkScene") => app.rootGraph.node(id, { type });
const job = (outputs, prompt = {}) => ({ outputs, workflow: { prompt } });

test("what a node of the pack puts out is delivered, after what it does with it itself", () => {
  const [node, foreign] = [ours(1), ours(2, "KSampler")];
  node.onExecuted = (...outputs) => seen.push(["itself", ...outputs]);
  watchOutputs(node);
  watchOutputs(foreign);
  node.onExecuted({ text: ["a"] });
  assert.deepEqual(seen, [
    ["itself", { text: ["a"] }],
    [1, { text: ["a"] }],
  ]);
  assert.equal(foreign.onExecuted, undefined);
});

test("outputs of a job reach the nodes that they are keyed by", () => {
  ours(1);
  ours(2, "KSampler");
  deliverOutputs({ 1: { text: ["a"] }, 2: { text: ["b"] }, 3: { text: ["c"] } });
  assert.deepEqual(seen, [[1, { text: ["a"] }]]);
});

test("the history serves the nodes that have none, the newest run first", async () => {
  for (const id of [1, 2, 3]) ours(id);
  deliverOutputs({ 3: { text: ["shown"] } });
  api.reset({
    "/jobs": { jobs: [{ id: "new" }, { id: "old" }] },
    "/jobs/new": job({ 1: { text: ["new"] } }),
    "/jobs/old": job({ 1: { text: ["old"] }, 2: { text: ["old"] }, 3: { text: ["old"] } }),
  });
  await deliverHistory();
  assert.deepEqual(seen.slice(1), [
    [1, { text: ["new"] }],
    [2, { text: ["old"] }],
  ]);
  assert.match(api.requests[0][0], /workflow_id=graph&status=completed%2Cfailed%2Ccancelled&limit=4/);
});

test("older runs are left alone once every node is served", async () => {
  ours(1);
  api.reset({ "/jobs": { jobs: [{ id: "new" }, { id: "old" }] }, "/jobs/new": job({ 1: { text: ["new"] } }) });
  await deliverHistory();
  assert.deepEqual(api.requests.map(([path]) => path).slice(1), ["/jobs/new"]);
});

test("an id that is another node's by now gets nothing", async () => {
  ours(1);
  api.reset({
    "/jobs": { jobs: [{ id: "new" }] },
    "/jobs/new": job({ 1: { text: ["a"] } }, { 1: { class_type: "RethinkSampleEdit" } }),
  });
  await deliverHistory();
  assert.deepEqual(seen, []);
});

test("a workflow that was closed meanwhile gets nothing", async () => {
  ours(1);
  api.reset({ "/jobs": { jobs: [{ id: "new" }] }, "/jobs/new": job({ 1: { text: ["a"] } }) });
  const reading = deliverHistory();
  app.rootGraph = new Graph("another");
  ours(1);
  await reading;
  assert.deepEqual(seen, []);
});

test("nobody asks for a workflow without nodes of the pack", async () => {
  ours(1, "KSampler");
  api.reset();
  await deliverHistory();
  assert.deepEqual(api.requests, []);
});
