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
  const nodes = [...canvas.selectedItems].filter((item) => item.inputs && item.outputs);
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

/** Where the picture goes in and out of the selection, and who in it takes the prompt and the seed; or what is missing. */
function explore(graph, nodes) {
  const within = new Set(nodes.map((node) => node.id));
  const entering = nodes.flatMap((node) =>
    node.inputs.map((input, slot) => ({ node, slot, link: graph.getLink(input.link), type: input.type })),
  );
  const fromOutside = entering.filter(({ link }) => link && !within.has(link.origin_id));
  const sources = fromOutside.filter(({ type }) => type === "IMAGE");
  const origins = new Set(sources.map(({ link }) => `${link.origin_id} ${link.origin_slot}`));
  const open = entering.filter(({ type, link }) => type === "IMAGE" && !link);
  if (origins.size > 1) return "Several pictures go into the selection; select nodes that one picture goes into.";
  if (!origins.size && open.length !== 1) return "No picture goes into the selection; select the nodes that edit it.";

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

  const texts = fromOutside.filter(({ type }) => type === "STRING");
  return { sources: sources.length ? sources : open, edited: ends[0], texts, nodes };
}

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
  const [{ link }] = sources;
  if (link) graph.getNodeById(link.origin_id).connect(link.origin_slot, open, slotOf(open.inputs, "image"));
  for (const { node, slot } of sources) open.connect(slotOf(open.outputs, "image"), node, slot);
  for (const out of edited.outside) {
    close.connect(slotOf(close.outputs, "image"), graph.getNodeById(out.target_id), out.target_slot);
  }
  edited.node.connect(edited.slot, close, slotOf(close.inputs, "edited"));
  open.connect(slotOf(open.outputs, "loop"), close, slotOf(close.inputs, "loop"));
  const thinker = graph.nodes.find((node) => node.outputs?.some(isThinker)) ?? thinkerBelow(graph, open);
  thinker.connect(thinker.outputs.findIndex(isThinker), open, slotOf(open.inputs, "thinker"));
}

const isThinker = ({ type }) => type === "RETHINK_THINKER";

function thinkerBelow(graph, open) {
  const thinker = add(graph, THINKER);
  thinker.pos = [open.pos[0], open.pos[1] + open.size[1] + SPACE];
  return thinker;
}

/** Hand prompt and seed of every turn to the nodes that take them. Returns what the user should look at. */
function tell(graph, { nodes, texts }, open) {
  for (const { node, slot } of inputsNamed(nodes, SEEDS)) open.connect(slotOf(open.outputs, "seed"), node, slot);
  if (texts.length) {
    const [{ link }] = texts;
    graph.getNodeById(link.origin_id).connect(link.origin_slot, open, slotOf(open.inputs, "instruction"));
    texts.forEach(({ node, slot }) => open.connect(slotOf(open.outputs, "prompt"), node, slot));
    return "";
  }
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
  const targets = links.map((link) => graph.getNodeById(link.target_id).inputs[link.target_slot].name);
  return targets.length > 0 && targets.every((name) => name.startsWith("negative"));
}

const slotOf = (slots, name) => slots.findIndex((slot) => slot.name === name);
