/** Find nodes of a workflow, including those in its subgraphs. `root` is the outermost graph. */

/**
 * @param {ComfyGraph} graph
 * @returns {Generator<ComfyNode>}
 */
export function* everyNode(graph) {
  for (const node of graph.nodes) {
    yield node;
    if (node.subgraph) yield* everyNode(node.subgraph);
  }
}

/**
 * The node with an id in the server's form, which includes the path through subgraphs: "10:3"; null if there is none.
 *
 * @param {ComfyGraph} root
 * @param {string} path
 * @returns {ComfyNode | null}
 */
export function nodeAt(root, path) {
  /** @type {ComfyGraph | undefined} */
  let graph = root;
  /** @type {ComfyNode | null | undefined} */
  let node = null;
  for (const id of path.split(":")) {
    node = graph?.getNodeById(Number(id));
    graph = node?.subgraph;
  }
  return node ?? null;
}

/**
 * The node of a key of the front end's outputs: the server's id, or the node's own id after that of its subgraph:
 * "uuid:3". In the history, a loop's last pass has the id of a copy, which ends in the node's own id: "6.0.0.6".
 *
 * @param {ComfyRootGraph} root
 * @param {string} key
 * @returns {ComfyNode | null}
 */
export function nodeOfOutput(root, key) {
  const path = key.split(".").at(-1) ?? "";
  const [first, id] = path.split(":");
  const subgraph = root.subgraphs.get(first);
  return subgraph ? subgraph.getNodeById(Number(id)) : nodeAt(root, path);
}

/**
 * The nodes connected to outputs of a type of the node at `path`, following links out of subgraphs and into them.
 *
 * @param {ComfyGraph} root
 * @param {string} path
 * @param {string} type
 */
export function nodesBehind(root, path, type) {
  const node = nodeAt(root, path);
  const graph = node?.graph;
  if (!node || !graph) return [];
  const within = path.split(":").slice(0, -1);
  const outputs = node.outputs.filter((output) => output.type === type);
  return outputs.flatMap((output) => linkTargets(root, graph, output.links, within));
}

/**
 * Where links of a graph end.
 *
 * @param {ComfyGraph} root
 * @param {ComfyGraph} graph
 * @param {number[] | null} links
 * @param {ComfyId[]} within the path of the node whose inside the graph is
 * @returns {ComfyNode[]}
 */
function linkTargets(root, graph, links, within) {
  return [...(links ?? [])].flatMap((id) => {
    const link = graph.getLink(id);
    if (!link) return [];
    if (link.target_id === graph.outputNode?.id) {
      const outer = nodeAt(root, within.join(":"));
      if (!outer?.graph) return [];
      return linkTargets(root, outer.graph, outer.outputs[link.target_slot].links, within.slice(0, -1));
    }
    const target = graph.getNodeById(link.target_id);
    if (!target?.subgraph) return target ? [target] : [];
    const { linkIds } = target.subgraph.inputs[link.target_slot];
    return linkTargets(root, target.subgraph, linkIds, [...within, target.id]);
  });
}
