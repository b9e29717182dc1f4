import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { wrapInThinkLoop } from "../../web/wrap.mjs";
import { Graph, Subgraph } from "./support/graph.mjs";

const KINDS = {
  RethinkThinkLoopOpen: {
    inputs: ["IMAGE", "RETHINK_THINKER thinker"],
    outputs: ["LOOP", "IMAGE", "STRING prompt", "INT seed"],
    widgets: { instruction: "", seed: 0 },
  },
  RethinkThinkLoopClose: { inputs: ["LOOP", "IMAGE edited"], outputs: ["IMAGE", "STRING prompt"] },
  RethinkLoadThinker: { outputs: ["RETHINK_THINKER thinker"] },
};
const [OPEN, CLOSE] = ["RethinkThinkLoopOpen", "RethinkThinkLoopClose"];
globalThis.LiteGraph = {
  createNode: (type) => Object.assign(new Graph().node(null, { type, ...KINDS[type] }), { id: undefined }),
};

let messages;
beforeEach(() => {
  messages = [];
});

function wrap(graph, nodes) {
  const canvas = {
    graph,
    selectedItems: new Set(nodes),
    deselectAll() {},
    selectItems: (items) => (canvas.selected = items),
    setDirty() {},
  };
  wrapInThinkLoop({ canvas }, (message) => messages.push(message));
  return canvas;
}

/** Load → Edit → Save, with a prompt and a seed on Edit. */
function editing(graph = new Graph("root")) {
  const load = graph.node(1, { type: "Load", outputs: ["IMAGE"] });
  const edit = graph.node(2, {
    type: "Edit",
    inputs: ["IMAGE"],
    outputs: ["IMAGE"],
    widgets: { prompt: "make it red", seed: 3 },
    pos: [300, 50],
  });
  const save = graph.node(3, { type: "Save", inputs: ["IMAGE"], pos: [600, 0] });
  load.connect(0, edit, 0);
  edit.connect(0, save, 0);
  return { graph, load, edit, save };
}

test("a loop goes around the nodes: image, prompt and seed in, the edit out", () => {
  const { graph, load, edit, save } = editing();
  const canvas = wrap(graph, [edit]);
  assert.deepEqual(graph.wires(), [
    "Edit.image → RethinkThinkLoopClose.edited",
    "Load.image → RethinkThinkLoopOpen.image",
    "RethinkLoadThinker.thinker → RethinkThinkLoopOpen.thinker",
    "RethinkThinkLoopClose.image → Save.image",
    "RethinkThinkLoopOpen.image → Edit.image",
    "RethinkThinkLoopOpen.loop → RethinkThinkLoopClose.loop",
    "RethinkThinkLoopOpen.prompt → Edit.prompt",
    "RethinkThinkLoopOpen.seed → Edit.seed",
  ]);
  const open = graph.nodes.find(({ type }) => type === OPEN);
  assert.equal(open.widgets.find(({ name }) => name === "instruction").value, "make it red");
  assert.deepEqual(messages, []);
  assert.deepEqual(
    canvas.selected.map(({ type }) => type),
    [OPEN, CLOSE],
  );
  assert.ok(load.pos[0] < open.pos[0] && open.pos[0] < edit.pos[0] && save.pos[0] > 600, "the others make room");
});

test("a thinker that is there is taken, and a group stands for its nodes", () => {
  const { graph, edit } = editing();
  graph.node(9, { type: "MyThinker", outputs: ["RETHINK_THINKER thinker"] });
  wrap(graph, [{ nodes: [edit] }, edit]);
  assert.ok(graph.wires().includes("MyThinker.thinker → RethinkThinkLoopOpen.thinker"));
  assert.equal(graph.nodes.filter(({ type }) => type === OPEN).length, 1);
});

test("text and seed that come from outside go through the loop", () => {
  const { graph, edit } = editing();
  const text = graph.node(4, { type: "Text", outputs: ["STRING text"] });
  const seed = graph.node(5, { type: "Seed", outputs: ["INT seed"] });
  text.connect(0, edit, 1);
  seed.connect(0, edit, 2);
  wrap(graph, [edit]);
  const wires = graph.wires();
  for (const wire of [
    "Text.text → RethinkThinkLoopOpen.instruction",
    "Seed.seed → RethinkThinkLoopOpen.seed",
    "RethinkThinkLoopOpen.prompt → Edit.prompt",
    "RethinkThinkLoopOpen.seed → Edit.seed",
  ])
    assert.ok(wires.includes(wire), wire);
});

test("what comes from elsewhere than the first text stays as it is", () => {
  const { graph, edit } = editing();
  edit.inputs.push({ type: "STRING", name: "style", link: null });
  graph.node(4, { type: "Text", outputs: ["STRING text"] }).connect(0, edit, 1);
  graph.node(5, { type: "Style", outputs: ["STRING text"] }).connect(0, edit, edit.inputs.length - 1);
  wrap(graph, [edit]);
  assert.ok(graph.wires().includes("Style.text → Edit.style"));
  assert.ok(graph.wires().includes("RethinkThinkLoopOpen.prompt → Edit.prompt"));
});

test("what an editor should avoid is no prompt", () => {
  const { graph, edit } = editing();
  edit.inputs.push({ type: "CONDITIONING", name: "negative", link: null });
  const negative = graph.node(4, { type: "Negative", outputs: ["CONDITIONING"], widgets: { text: "a blur" } });
  negative.connect(0, edit, edit.inputs.length - 1);
  wrap(graph, [negative, edit]);
  assert.ok(graph.wires().includes("RethinkThinkLoopOpen.prompt → Edit.prompt"));
  assert.deepEqual(messages, []);
});

test("of several texts the one with words is taken, and the user is told", () => {
  const { graph, edit } = editing();
  edit.widgets.find(({ name }) => name === "prompt").value = "";
  const second = graph.node(4, {
    type: "Second",
    inputs: ["IMAGE"],
    outputs: ["IMAGE"],
    widgets: { text: "make it blue" },
  });
  edit.connect(0, second, 0);
  second.connect(0, graph.getNodeById(3), 0);
  wrap(graph, [edit, second]);
  assert.ok(graph.wires().includes("RethinkThinkLoopOpen.prompt → Second.text"));
  assert.match(messages[0], /“Second”/);
});

test("what cannot be wrapped is left as it is, and the user is told why", () => {
  const { graph, load, edit, save } = editing();
  const other = graph.node(4, { type: "Other", inputs: ["IMAGE"], outputs: ["IMAGE"] });
  load.connect(0, other, 0);
  other.connect(0, graph.node(7, { type: "Save", inputs: ["IMAGE"] }), 0);
  const before = graph.wires();
  const refusals = [
    [[load], /^No image goes into the selection/],
    [[edit, other], /^The selection must output one image/],
    [[save], /^The selection must output one image/],
    [[], /^No image goes into the selection/],
  ];
  for (const [nodes, reason] of refusals) {
    wrap(graph, nodes);
    assert.match(messages.pop(), reason);
  }
  const second = graph.node(5, { type: "Load", outputs: ["IMAGE"] });
  const blend = graph.node(6, { type: "Blend", inputs: ["IMAGE", "IMAGE mask"], outputs: ["IMAGE"] });
  load.connect(0, blend, 0);
  second.connect(0, blend, 1);
  wrap(graph, [blend]);
  assert.match(messages.pop(), /^Several images go into the selection/);
  assert.deepEqual(
    graph.wires().filter((wire) => !wire.includes("Blend")),
    before,
  );
});

test("nodes that take no prompt are wrapped, and the user connects it", () => {
  const { graph, edit } = editing();
  edit.inputs = edit.inputs.slice(0, 1);
  edit.widgets = [];
  wrap(graph, [edit]);
  assert.match(messages[0], /^No node in the selection takes a prompt/);
  assert.ok(graph.wires().includes("Edit.image → RethinkThinkLoopClose.edited"));
});

test("inside a subgraph the loop connects to what comes in and goes out", () => {
  const graph = new Subgraph("inside", 1, 1);
  const edit = graph.node(2, {
    type: "Edit",
    inputs: ["IMAGE"],
    outputs: ["IMAGE"],
    widgets: { prompt: "make it red" },
  });
  graph.enter(0, edit, 0);
  graph.leave(edit, 0, 0);
  wrap(graph, [edit]);
  assert.deepEqual(graph.exits, ["RethinkThinkLoopClose.image"]);
  const wires = graph.wires();
  assert.ok(
    wires.includes("in.0 → RethinkThinkLoopOpen.image") && wires.includes("RethinkThinkLoopOpen.image → Edit.image"),
  );
});
