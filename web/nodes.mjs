/** Finding nodes of a workflow, those in its subgraphs too. `root` is the outermost graph. */

export function* everyNode(graph) {
  for (const node of graph.nodes) {
    yield node;
    if (node.subgraph) yield* everyNode(node.subgraph);
  }
}

/** The node of an id as the server knows it, which goes through subgraphs: "10:3"; null when there is none. */
export function nodeAt(root, path) {
  let [graph, node] = [root, null];
  for (const id of path.split(":")) {
    node = graph?.getNodeById(Number(id));
    graph = node?.subgraph;
  }
  return node ?? null;
}

/**
 * The node of a key of the front end's outputs: the server's id, or the node's own behind that of its subgraph:
 * "uuid:3". In the history a loop's last pass stands under the id of a copy, which ends in that of the node: "6.0.0.6".
 */
export function nodeOfOutput(root, key) {
  const path = key.split(".").at(-1);
  const [first, id] = path.split(":");
  const subgraph = root.subgraphs.get(first);
  return subgraph ? subgraph.getNodeById(Number(id)) : nodeAt(root, path);
}

/** The nodes that the outputs of a type lead to from the node at `path`, out of subgraphs and into them. */
export function nodesBehind(root, path, type) {
  const node = nodeAt(root, path);
  const outputs = node?.outputs.filter((output) => output.type === type) ?? [];
  return outputs.flatMap((output) => targets(root, node.graph, output.links, path.split(":").slice(0, -1)));
}

/** Where links of a graph end; `within` is the path of the node that the graph is the inside of. */
function targets(root, graph, links, within) {
  return [...(links ?? [])].flatMap((id) => {
    const { target_id, target_slot } = graph.getLink(id);
    if (target_id === graph.outputNode?.id) {
      const around = nodeAt(root, within.join(":"));
      return targets(root, around.graph, around.outputs[target_slot].links, within.slice(0, -1));
    }
    const target = graph.getNodeById(target_id);
    if (!target?.subgraph) return target ? [target] : [];
    const { linkIds } = target.subgraph.inputs[target_slot];
    return targets(root, target.subgraph, linkIds, [...within, target.id]);
  });
}
