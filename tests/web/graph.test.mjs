import assert from "node:assert/strict";
import { test } from "node:test";
import { everyNode, nodeAt, nodeOfOutput, nodesBehind } from "../../web/graph.mjs";
import { Graph, Subgraph } from "./support/graph.mjs";

const TYPE = "TRAJECTORY";

/** Node 1, and node 10 with a subgraph that holds node 3 and node 4, in which is node 5. */
function nested() {
  const [root, outer, inner] = [new Graph("root"), new Subgraph("outer", 1, 1), new Subgraph("inner", 1, 1)];
  inner.node(5);
  outer.node(3);
  outer.node(4, { subgraph: inner });
  root.node(1);
  root.node(10, { subgraph: outer });
  root.subgraphs.set("outer", outer).set("inner", inner);
  return root;
}

test("every node is found, those in subgraphs too", () => {
  assert.deepEqual(
    [...everyNode(nested())].map(({ id }) => id),
    [1, 10, 3, 4, 5],
  );
});

test("the server's ids lead through subgraphs", () => {
  const root = nested();
  assert.deepEqual(
    ["1", "10:3", "10:4:5"].map((path) => nodeAt(root, path).id),
    [1, 3, 5],
  );
  for (const path of ["2", "1:3", "10:9", "10:3:5", ""]) assert.equal(nodeAt(root, path), null, path);
});

test("outputs are keyed by path, by subgraph, or by the copy of a loop's last pass", () => {
  const root = nested();
  assert.equal(nodeOfOutput(root, "10:3").id, 3);
  assert.equal(nodeOfOutput(root, "inner:5").id, 5);
  assert.equal(nodeOfOutput(root, "6.0.0.1").id, 1);
  assert.equal(nodeOfOutput(root, "inner:9"), null);
  assert.equal(nodeOfOutput(root, "99"), null);
});

test("links lead to the nodes behind, and only those of the type", () => {
  const root = new Graph("root");
  const maker = root.node(1, { outputs: ["IMAGE", TYPE] });
  const [viewer, preview] = [root.node(2, { inputs: [TYPE] }), root.node(3, { inputs: ["IMAGE"] })];
  maker.connect(1, viewer, 0);
  maker.connect(0, preview, 0);
  assert.deepEqual(nodesBehind(root, "1", TYPE), [viewer]);
  assert.deepEqual(nodesBehind(root, "2", TYPE), []);
  assert.deepEqual(nodesBehind(root, "7", TYPE), []);
});

test("links lead out of a subgraph within a subgraph", () => {
  const [root, outer, inner] = [new Graph("root"), new Subgraph("outer", 0, 1), new Subgraph("inner", 0, 1)];
  inner.leave(inner.node(5, { outputs: [TYPE] }), 0, 0);
  outer.leave(outer.node(4, { outputs: [TYPE], subgraph: inner }), 0, 0);
  const viewer = root.node(11, { inputs: [TYPE] });
  root.node(10, { outputs: [TYPE], subgraph: outer }).connect(0, viewer, 0);
  assert.deepEqual(nodesBehind(root, "10:4:5", TYPE), [viewer]);
});

test("links lead into subgraphs and out of them", () => {
  const [root, from, into] = [new Graph("root"), new Subgraph("from", 0, 1), new Subgraph("into", 1, 0)];
  const maker = from.node(1, { outputs: [TYPE] });
  from.leave(maker, 0, 0);
  const viewer = into.node(1, { inputs: [TYPE] });
  into.enter(0, viewer, 0);
  const first = root.node(10, { outputs: [TYPE], subgraph: from });
  const second = root.node(11, { inputs: [TYPE], subgraph: into });
  const beside = root.node(12, { inputs: [TYPE] });
  first.connect(0, second, 0);
  first.connect(0, beside, 0);
  assert.deepEqual(nodesBehind(root, "10:1", TYPE), [viewer, beside]);
});
