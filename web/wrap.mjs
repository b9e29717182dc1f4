/** The command that puts a Think Loop around the selected nodes, whatever they are: they become its editor. */

export const WRAP_TITLE = "Wrap in Think Loop";

const OPEN = "RethinkThinkLoopOpen";
const CLOSE = "RethinkThinkLoopClose";
const THINKER = "RethinkLoadThinker";
const TEXT_WIDGETS = ["instruction", "prompt", "text", "positive"]; // that hold an editor's instruction
const SEED_WIDGETS = ["seed", "noise_seed"];
const SPACE = 60;

/** @typedef {{node: ComfyNode, slot: number, type: string, link?: ComfyLink}} InputSlot */
/** @typedef {{node: ComfyNode, slot: number, type: string, links: ComfyLink[], outerLinks: ComfyLink[]}} OutputSlot */

/**
 * What a loop around nodes connects to.
 *
 * @typedef {object} Ends
 * @property {ComfyNode[]} nodes
 * @property {InputSlot[]} sources where the source image goes in
 * @property {InputSlot[]} texts where texts come in from outside
 * @property {InputSlot[]} seeds where seeds come in from outside
 * @property {OutputSlot} edited where the edited image comes out
 */

/**
 * Wire a loop around the selection.
 *
 * @param {ComfyApp} app
 * @param {(sentence: string) => void} notify shows what is missing or was guessed
 */
export function wrapInThinkLoop(app, notify) {
  const { canvas } = app;
  const { graph } = canvas;
  const items = [...canvas.selectedItems].flatMap((item) => ("nodes" in item ? [...item.nodes] : item)); // of a group
  const nodes = [...new Set(items)].filter((item) => item.inputs && item.outputs);
  const ends = findEnds(graph, nodes);
  if (typeof ends === "string") {
    notify(ends);
    return;
  }
  graph.beforeChange();
  try {
    const { open, close } = placeLoop(graph, nodes);
    connectLoop(graph, ends, open, close);
    const guess = connectPromptAndSeed(graph, ends, open);
    canvas.deselectAll();
    canvas.selectItems([open, close]);
    if (guess) notify(guess);
  } finally {
    graph.afterChange();
    canvas.setDirty(true, true);
  }
}

/**
 * @param {ComfyGraph} graph
 * @param {ComfyNode[]} nodes
 * @returns {Ends | string} a sentence about what is missing
 */
export function findEnds(graph, nodes) {
  const ids = new Set(nodes.map((node) => node.id));
  const inputs = nodes.flatMap((node) => inputSlots(graph, node));
  const outerInputs = inputs.filter(({ link }) => link && !ids.has(link.origin_id));
  const outerImages = outerInputs.filter(({ type }) => type === "IMAGE");
  if (outerImages.some((input) => !haveSameOrigin(outerImages[0], input)))
    return "Several images go into the selection; select nodes that take a single image.";
  const fed = new Set(inputs.filter(({ type, link }) => type === "IMAGE" && link).map(({ node }) => node));
  const freeImages = inputs.filter(({ node, type }) => type === "IMAGE" && !fed.has(node));
  if (!outerImages.length && freeImages.length !== 1)
    return "No image goes into the selection; select the nodes that edit it, without the one that loads it.";

  const outputs = nodes.flatMap((node) => outputSlots(graph, node, ids)).filter(({ type }) => type === "IMAGE");
  const results = outputs.filter(({ outerLinks }) => outerLinks.length);
  const lastOutputs = results.length ? results : outputs.filter(({ links }) => !links.length);
  if (lastOutputs.length !== 1)
    return "The selection must output one image; select everything up to the node that outputs the edited one.";

  return {
    nodes,
    sources: outerImages.length ? outerImages : freeImages,
    texts: outerInputs.filter(({ node, type }) => type === "STRING" && !isNegative(graph, node)),
    seeds: outerInputs.filter(({ node, slot }) => SEED_WIDGETS.includes(node.inputs[slot].widget?.name ?? "")),
    edited: lastOutputs[0],
  };
}

/** @param {ComfyGraph} graph @param {ComfyNode} node @returns {InputSlot[]} */
const inputSlots = (graph, node) =>
  node.inputs.map(({ type, link }, slot) => ({ node, slot, type, link: graph.getLink(link) }));

/**
 * @param {ComfyGraph} graph
 * @param {ComfyNode} node
 * @param {Set<ComfyId>} ids of the selection
 * @returns {OutputSlot[]}
 */
const outputSlots = (graph, node, ids) =>
  node.outputs.map((output, slot) => {
    const links = outputLinks(graph, output);
    return { node, slot, type: output.type, links, outerLinks: links.filter((link) => !ids.has(link.target_id)) };
  });

/** @param {ComfyGraph} graph @param {ComfyOutput} output @returns {ComfyLink[]} */
const outputLinks = (graph, output) =>
  (output.links ?? []).map((id) => graph.getLink(id)).filter((link) => link !== undefined && link !== null);

/** @param {InputSlot} input @param {InputSlot} other */
const haveSameOrigin = ({ link }, { link: other }) =>
  link?.origin_id === other?.origin_id && link?.origin_slot === other?.origin_slot;

/** @param {ComfyGraph} graph @param {string} type */
function addNode(graph, type) {
  const node = LiteGraph.createNode(type);
  graph.add(node);
  return node;
}

/**
 * Add the loop's two ends beside the selection; other nodes move to make room.
 *
 * @param {ComfyGraph} graph
 * @param {ComfyNode[]} nodes
 */
function placeLoop(graph, nodes) {
  const left = Math.min(...nodes.map((node) => node.pos[0]));
  const top = Math.min(...nodes.map((node) => node.pos[1]));
  const right = Math.max(...nodes.map((node) => node.pos[0] + node.size[0]));
  const others = graph.nodes.filter((node) => !nodes.includes(node));
  const [open, close] = [addNode(graph, OPEN), addNode(graph, CLOSE)];
  for (const other of others) {
    const middle = other.pos[0] + other.size[0] / 2;
    if (middle < left) other.pos = [other.pos[0] - open.size[0] - 2 * SPACE, other.pos[1]];
    if (middle > right) other.pos = [other.pos[0] + close.size[0] + 2 * SPACE, other.pos[1]];
  }
  open.pos = [left - open.size[0] - SPACE, top];
  close.pos = [right + SPACE, top];
  return { open, close };
}

/** @param {ComfyGraph} graph @param {Ends} ends @param {ComfyNode} open @param {ComfyNode} close */
function connectLoop(graph, { sources, edited }, open, close) {
  rewire(graph, sources, open, "image", "image");
  const slot = slotOf(close.outputs, "image");
  for (const { target_id, target_slot } of edited.outerLinks) {
    const target = graph.getNodeById(target_id);
    if (target) close.connect(slot, target, target_slot);
    else asSubgraph(graph).outputs[target_slot].connect(close.outputs[slot], close); // the link leaves the subgraph
  }
  edited.node.connect(edited.slot, close, slotOf(close.inputs, "edited"));
  open.connect(slotOf(open.outputs, "loop"), close, slotOf(close.inputs, "loop"));
  const thinker = graph.nodes.find((node) => node.outputs?.some(isThinker)) ?? addThinker(graph, open);
  thinker.connect(thinker.outputs.findIndex(isThinker), open, slotOf(open.inputs, "thinker"));
}

/**
 * Connect the origin of the first of `inputs` to Open's `input`, and Open's `output` to everything that origin fed.
 *
 * @param {ComfyGraph} graph
 * @param {InputSlot[]} inputs
 * @param {ComfyNode} open
 * @param {string} input
 * @param {string} output
 */
function rewire(graph, inputs, open, input, output) {
  const [first] = inputs;
  const same = inputs.filter((other) => !other.link || haveSameOrigin(first, other));
  if (first?.link) {
    const { origin_id, origin_slot } = first.link;
    const [origin, slot] = [graph.getNodeById(origin_id), slotOf(open.inputs, input)];
    if (origin) origin.connect(origin_slot, open, slot);
    else asSubgraph(graph).inputs[origin_slot].connect(open.inputs[slot], open); // the link enters the subgraph
  }
  for (const { node, slot } of same) open.connect(slotOf(open.outputs, output), node, slot);
}

/** A graph whose links lead to none of its own nodes is the inside of a subgraph. @param {ComfyGraph} graph */
const asSubgraph = (graph) => /** @type {ComfySubgraph} */ (graph);

/** @param {{type: string}} slot */
const isThinker = ({ type }) => type === "RETHINK_THINKER";

/** @param {ComfyGraph} graph @param {ComfyNode} open */
function addThinker(graph, open) {
  const thinker = addNode(graph, THINKER);
  thinker.pos = [open.pos[0], open.pos[1] + open.size[1] + SPACE];
  return thinker;
}

/**
 * Connect the prompt and seed of every turn to the nodes that take them.
 *
 * @param {ComfyGraph} graph
 * @param {Ends} ends
 * @param {ComfyNode} open
 * @returns {string} what the user should check, "" if nothing
 */
function connectPromptAndSeed(graph, { nodes, texts, seeds }, open) {
  for (const { node, slot } of freeInputs(nodes, SEED_WIDGETS)) open.connect(slotOf(open.outputs, "seed"), node, slot);
  rewire(graph, seeds, open, "seed", "seed");
  rewire(graph, texts, open, "instruction", "prompt");
  if (texts.length) return "";
  const candidates = freeInputs(nodes, TEXT_WIDGETS).filter(({ node }) => !isNegative(graph, node));
  const first = candidates.find(({ widget }) => widget.value) ?? candidates[0];
  if (!first) return "No node in the selection takes a prompt; connect the loop's “prompt” to the node that should.";
  const instruction = open.widgets?.find((widget) => widget.name === "instruction");
  if (instruction) instruction.value = first.widget.value;
  open.connect(slotOf(open.outputs, "prompt"), first.node, first.slot);
  return candidates.length > 1
    ? `The loop writes its prompts into “${first.node.title}”; if you meant another node, connect “prompt” to that one.`
    : "";
}

/**
 * Inputs without a link whose widget has one of these names.
 *
 * @param {ComfyNode[]} nodes
 * @param {string[]} widgetNames
 */
function freeInputs(nodes, widgetNames) {
  return nodes.flatMap((node) =>
    node.inputs.flatMap(({ link, widget: reference }, slot) => {
      const widget = node.widgets?.find(({ name }) => name === reference?.name);
      return widget && !link && widgetNames.includes(widget.name) ? [{ node, slot, widget }] : [];
    }),
  );
}

/**
 * Whether all outputs of a node are used as negative prompts.
 *
 * @param {ComfyGraph} graph
 * @param {ComfyNode} node
 */
function isNegative(graph, node) {
  const links = node.outputs.flatMap((output) => outputLinks(graph, output));
  return (
    links.length > 0 &&
    links.every(({ target_id, target_slot }) =>
      graph.getNodeById(target_id)?.inputs[target_slot].name.startsWith("negative"),
    )
  );
}

/** @param {{name: string}[]} slots @param {string} slotName */
const slotOf = (slots, slotName) => slots.findIndex(({ name }) => name === slotName);
