/** Graphs with nodes, links and subgraphs, as ComfyUI has them. */

const OUTPUT_NODE = -20;
const INPUT_NODE = -10;

export class Graph {
  nodes = [];
  links = new Map();
  subgraphs = new Map();

  constructor(id) {
    this.id = id;
  }

  /** Add a node. inputs, outputs: "type" or "type name"; widgets: {name: value}, each with an input of its own. */
  node(id, { type = "Node", inputs = [], outputs = [], widgets = {}, subgraph, comfyClass = type, pos = [0, 0] } = {}) {
    const split = (slot) => ({
      type: slot.split(" ")[0],
      name: slot.split(" ")[1] ?? slot.split(" ")[0].toLowerCase(),
    });
    const node = new Node(id, type, comfyClass, pos);
    node.inputs = inputs.map((slot) => ({ ...split(slot), link: null }));
    node.outputs = outputs.map((slot) => ({ ...split(slot), links: [] }));
    for (const [name, value] of Object.entries(widgets)) {
      node.widgets.push({ name, value, options: {} });
      const known = node.inputs.find((input) => input.name === name);
      if (known) known.widget = { name };
      else node.inputs.push({ type: typeof value === "number" ? "INT" : "STRING", name, link: null, widget: { name } });
    }
    if (subgraph) Object.assign(node, { subgraph });
    this.add(node);
    return node;
  }

  add(node) {
    node.graph = this;
    node.id ??= 1000 + this.nodes.length;
    this.nodes.push(node);
  }

  getNodeById(id) {
    return this.nodes.find((node) => node.id === id) ?? null;
  }

  getLink(id) {
    return this.links.get(id);
  }

  beforeChange() {}

  afterChange() {}

  link(origin_id, origin_slot, target_id, target_slot) {
    const id = this.links.size + 1;
    this.links.set(id, { origin_id, origin_slot, target_id, target_slot });
    return id;
  }

  unlink(id) {
    const { origin_id, origin_slot } = this.links.get(id);
    const output = this.getNodeById(origin_id)?.outputs[origin_slot];
    if (output) output.links = output.links.filter((other) => other !== id);
  }

  /** Every link as "origin.output → target.input", sorted. */
  wires() {
    const ends = this.nodes.flatMap((node) => node.inputs.filter(({ link }) => link).map((input) => ({ node, input })));
    return ends
      .map(({ node, input }) => {
        const { origin_id, origin_slot } = this.links.get(input.link);
        const origin = this.getNodeById(origin_id);
        const from = origin ? `${origin.type}.${origin.outputs[origin_slot].name}` : `in.${origin_slot}`;
        return `${from} → ${node.type}.${input.name}`;
      })
      .sort();
  }
}

/** The inside of a node: what comes in and goes out has slots of its own. */
export class Subgraph extends Graph {
  outputNode = { id: OUTPUT_NODE };
  exits = []; // "node.output" of what leaves it

  constructor(id, inputCount, outputCount) {
    super(id);
    this.inputs = Array.from({ length: inputCount }, (_, slot) => ({
      linkIds: [],
      connect: (input) => (input.link = this.link(INPUT_NODE, slot, null, null)),
    }));
    this.outputs = Array.from({ length: outputCount }, (_, slot) => ({
      connect: (output, node) => (this.exits[slot] = `${node.type}.${output.name}`),
    }));
  }

  /** Link an input of the subgraph to a node inside. */
  enter(slot, target, targetSlot) {
    const id = this.link(INPUT_NODE, slot, target.id, targetSlot);
    this.inputs[slot].linkIds.push(id);
    target.inputs[targetSlot].link = id;
  }

  /** Link a node inside to an output of the subgraph. */
  leave(origin, originSlot, slot) {
    origin.outputs[originSlot].links.push(this.link(origin.id, originSlot, OUTPUT_NODE, slot));
  }
}

class Node {
  size = [200, 100];
  widgets = [];

  constructor(id, type, comfyClass, pos) {
    Object.assign(this, { id, type, comfyClass, pos, title: type });
  }

  addDOMWidget(name, type, element, options) {
    const widget = { name, type, element, options };
    this.widgets.push(widget);
    return widget;
  }

  computeSize() {
    return [200, 100];
  }

  setSize(size) {
    this.size = size;
  }

  connect(slot, target, targetSlot) {
    const input = target.inputs[targetSlot];
    if (input.link) this.graph.unlink(input.link);
    input.link = this.graph.link(this.id, slot, target.id, targetSlot);
    this.outputs[slot].links.push(input.link);
  }
}
