/** The command that puts a Think Loop around the selected nodes, whatever they are: they become its editor. */

export const wrapTitle = "Wrap in Think Loop";

const OPEN = "RethinkThinkLoopOpen";
const CLOSE = "RethinkThinkLoopClose";
const THINKER = "RethinkLoadThinker";
const TEXTS = ["instruction", "prompt", "text", "positive"]; // widgets that hold what an editor is told
const SEEDS = ["seed", "noise_seed"];
const SPACE = 60;

/** Wire a loop around the selection; `notify(sentence)` says what could not be found or was guessed. */
export function wrapInThinkLoop(app, notify) {
  const { canvas } = app;
  const { graph } = canvas;
  const items = [...canvas.selectedItems].flatMap((item) => item.nodes ?? item); // a group stands for its nodes
  const nodes = [...new Set(items)].filter((item) => item.inputs && item.outputs);
  const found = explore(graph, nodes);
  if (typeof found === "string") return notify(found);
  graph.beforeChange();
  try {
    const { open, close } = place(graph, nodes);
    wire(graph, found, open, close);
    const guess = tell(graph, found, open);
    canvas.deselectAll();
    canvas.selectItems([open, close]);
    if (guess) notify(guess);
  } finally {
    graph.afterChange();
    canvas.setDirty(true, true);
  }
}

/** Where the picture, the text and the seed go in, and the edited picture out of the selection; or what is missing. */
function explore(graph, nodes) {
  const within = new Set(nodes.map((node) => node.id));
  const entering = nodes.flatMap((node) =>
    node.inputs.map((input, slot) => ({ node, slot, link: graph.getLink(input.link), type: input.type })),
  );
  const fromOutside = entering.filter(({ link }) => link && !within.has(link.origin_id));
  const sources = fromOutside.filter(({ type }) => type === "IMAGE");
  if (sources.some(({ link }) => !isFrom(sources[0], link)))
    return "Several pictures go into the selection; select nodes that one picture goes into.";
  const fed = new Set(entering.filter(({ type, link }) => type === "IMAGE" && link).map(({ node }) => node));
  const open = entering.filter(({ node, type }) => type === "IMAGE" && !fed.has(node));
  if (!sources.length && open.length !== 1)
    return "No picture goes into the selection; select the nodes that edit it, without the one that brings it.";

  const leaving = nodes.flatMap((node) =>
    node.outputs.map((output, slot) => {
      const links = (output.links ?? []).map((id) => graph.getLink(id));
      return { node, slot, links, outside: links.filter((link) => !within.has(link.target_id)), type: output.type };
    }),
  );
  const pictures = leaving.filter(({ type }) => type === "IMAGE");
  const results = pictures.filter(({ outside }) => outside.length);
  const ends = results.length ? results : pictures.filter(({ links }) => !links.length);
  if (ends.length !== 1) return "The selection must make one picture; select up to the node that makes the edited one.";

  const texts = fromOutside.filter(({ node, type }) => type === "STRING" && !isNegative(graph, node));
  const seeds = fromOutside.filter(({ node, slot }) => SEEDS.includes(node.inputs[slot].widget?.name));
  return { sources: sources.length ? sources : open, edited: ends[0], texts, seeds, nodes };
}

const isFrom = ({ link }, other) => link.origin_id === other.origin_id && link.origin_slot === other.origin_slot;

function add(graph, kind) {
  const node = LiteGraph.createNode(kind);
  graph.add(node);
  return node;
}

function place(graph, nodes) {
  const left = Math.min(...nodes.map((node) => node.pos[0]));
  const top = Math.min(...nodes.map((node) => node.pos[1]));
  const right = Math.max(...nodes.map((node) => node.pos[0] + node.size[0]));
  const others = graph.nodes.filter((node) => !nodes.includes(node));
  const [open, close] = [add(graph, OPEN), add(graph, CLOSE)];
  for (const other of others) {
    // what was beside the selection makes room
    const middle = other.pos[0] + other.size[0] / 2;
    if (middle < left) other.pos = [other.pos[0] - open.size[0] - 2 * SPACE, other.pos[1]];
    if (middle > right) other.pos = [other.pos[0] + close.size[0] + 2 * SPACE, other.pos[1]];
  }
  open.pos = [left - open.size[0] - SPACE, top];
  close.pos = [right + SPACE, top];
  return { open, close };
}

function wire(graph, { sources, edited }, open, close) {
  lead(graph, sources, open, "image", "image");
  for (const { target_id, target_slot } of edited.outside) {
    const [target, slot] = [graph.getNodeById(target_id), slotOf(close.outputs, "image")];
    if (target) close.connect(slot, target, target_slot);
    else graph.outputs[target_slot].connect(close.outputs[slot], close); // it leaves the subgraph
  }
  edited.node.connect(edited.slot, close, slotOf(close.inputs, "edited"));
  open.connect(slotOf(open.outputs, "loop"), close, slotOf(close.inputs, "loop"));
  const thinker = graph.nodes.find((node) => node.outputs?.some(isThinker)) ?? thinkerBelow(graph, open);
  thinker.connect(thinker.outputs.findIndex(isThinker), open, slotOf(open.inputs, "thinker"));
}

/** What the first of `inputs` is given goes to Open's `input`, and to all that are given the same goes Open's `output`. */
function lead(graph, inputs, open, input, output) {
  const [first] = inputs;
  const same = inputs.filter(({ link }) => !link || isFrom(first, link));
  if (first?.link) {
    const { origin_id, origin_slot } = first.link;
    const [origin, slot] = [graph.getNodeById(origin_id), slotOf(open.inputs, input)];
    if (origin) origin.connect(origin_slot, open, slot);
    else graph.inputs[origin_slot].connect(open.inputs[slot], open); // it comes into the subgraph
  }
  for (const { node, slot } of same) open.connect(slotOf(open.outputs, output), node, slot);
}

const isThinker = ({ type }) => type === "RETHINK_THINKER";

function thinkerBelow(graph, open) {
  const thinker = add(graph, THINKER);
  thinker.pos = [open.pos[0], open.pos[1] + open.size[1] + SPACE];
  return thinker;
}

/** Hand prompt and seed of every turn to the nodes that take them. Returns what the user should look at. */
function tell(graph, { nodes, texts, seeds }, open) {
  for (const { node, slot } of inputsNamed(nodes, SEEDS)) open.connect(slotOf(open.outputs, "seed"), node, slot);
  lead(graph, seeds, open, "seed", "seed");
  lead(graph, texts, open, "instruction", "prompt");
  if (texts.length) return "";
  const written = inputsNamed(nodes, TEXTS).filter(({ node }) => !isNegative(graph, node));
  const [first] = [...written].sort((a, b) => Number(!a.widget.value) - Number(!b.widget.value));
  if (!first) return "No node of the selection takes a prompt; connect the loop's “prompt” to the one that should.";
  const instruction = open.widgets.find((widget) => widget.name === "instruction");
  instruction.value = first.widget.value;
  open.connect(slotOf(open.outputs, "prompt"), first.node, first.slot);
  return written.length > 1
    ? `The loop writes its prompts into “${first.node.title}”; connect “prompt” to another node if that one is meant.`
    : "";
}

/** Inputs without a link whose widget has one of these names. */
function inputsNamed(nodes, names) {
  return nodes.flatMap((node) =>
    node.inputs.flatMap((input, slot) => {
      const widget = names.includes(input.widget?.name) && node.widgets.find((each) => each.name === input.widget.name);
      return widget && !input.link ? [{ node, slot, widget }] : [];
    }),
  );
}

function isNegative(graph, node) {
  const links = node.outputs.flatMap((output) => output.links ?? []).map((id) => graph.getLink(id));
  const targets = links.map(({ target_id, target_slot }) => graph.getNodeById(target_id)?.inputs[target_slot].name);
  return targets.length > 0 && targets.every((name) => name?.startsWith("negative"));
}

const slotOf = (slots, name) => slots.findIndex((slot) => slot.name === name);
