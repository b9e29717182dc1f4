import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "./support/page.mjs";
import { isFromOpenGraph, onGraphLoaded, recallRun, rememberRun, separateReopened } from "../../web/ownership.mjs";
import { api, app, settle } from "./support/comfyui.mjs";
import { Graph } from "./support/graph.mjs";

const run = (number) => ({ type: "output", subfolder: `run ${number}`, filename: "trajectory.json" });
const workflow = (id, type = "RethinkScene") => ({ id, nodes: [{ type }] });
const { workflow: store } = app.extensionManager;

beforeEach(() => {
  sessionStorage.clear();
  app.rootGraph = new Graph("graph");
  Object.assign(store, { activeWorkflow: null, openWorkflows: [] });
});

test("a node has the run that it showed last, in its own graph", () => {
  const [node, other] = [app.rootGraph.node(1), app.rootGraph.node(2)];
  assert.equal(recallRun(node), undefined);
  rememberRun(node, run(1));
  rememberRun(node, run(2));
  assert.deepEqual(recallRun(node), run(2));
  assert.equal(recallRun(other), undefined);
  app.rootGraph.id = "another";
  assert.equal(recallRun(node), undefined);
});

test("what was shown long ago is forgotten", () => {
  const nodes = Array.from({ length: 101 }, (_, id) => app.rootGraph.node(id));
  nodes.forEach((node, number) => rememberRun(node, run(number)));
  assert.equal(recallRun(nodes[0]), undefined);
  assert.deepEqual(recallRun(nodes[1]), run(1));
});

test("a workflow that is opened over itself is another graph, one that is undone is the same", () => {
  const idAfter = (active, state) => {
    store.activeWorkflow = active;
    separateReopened(state);
    return state.id;
  };
  const open = { activeState: { id: "a" } };
  assert.notEqual(idAfter(open, workflow("a")), "a");
  assert.equal(idAfter(open, workflow("b")), "b");
  assert.equal(idAfter({ ...open, changeTracker: { _restoringState: true } }, workflow("a")), "a");
  assert.equal(idAfter(open, workflow("a", "KSampler")), "a", "without a node of ours it does not matter");
  assert.equal(idAfter(null, workflow("a")), "a");
});

test("a copy in a new tab is another graph where that one is open or has run", () => {
  onGraphLoaded(() => {});
  const idAfter = (state) => {
    app.actionListeners.at(-1)({ name: "createNewTemporary", args: ["file.json", state], after() {} });
    return state.id;
  };
  assert.equal(idAfter(workflow("new")), "new");
  store.openWorkflows = [{ activeState: { id: "open" } }];
  const copy = idAfter(workflow("open"));
  assert.notEqual(copy, "open");
  assert.equal(app.rootGraph.id, copy, "the graph on the canvas and the state of its tab stay one");
  assert.equal(idAfter(workflow("open", "KSampler")), "open");
  app.rootGraph = new Graph("closed");
  rememberRun(app.rootGraph.node(1), run(1));
  assert.notEqual(idAfter(workflow("closed")), "closed");
});

test("the listener is called when a tab's graph has been loaded, and not before", async () => {
  let calls = 0;
  onGraphLoaded(() => calls++);
  const listener = app.actionListeners.at(-1);
  let finish;
  listener({ name: "openWorkflow", args: [], after: (callback) => (finish = callback) });
  await settle();
  assert.equal(calls, 0);
  finish();
  assert.equal(calls, 1);
  listener({ name: "renameWorkflow", args: [], after: (callback) => callback() });
  assert.equal(calls, 1);
});

test("a prompt belongs to the graph that it was queued from, and the server is asked once", async () => {
  api.reset({ "/jobs/ours": { workflow_id: "graph" }, "/jobs/other": { workflow_id: "another" } });
  assert.deepEqual(await Promise.all(["ours", "ours", "other", "unknown"].map(isFromOpenGraph)), [
    true,
    true,
    false,
    false,
  ]);
  assert.equal(api.requests.filter(([path]) => path === "/jobs/ours").length, 1);
});
