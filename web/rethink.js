/** Rethink in ComfyUI's window: the trajectory on its nodes, large on a click, and steerable while the loop runs. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { passWheelOn } from "./canvas_wheel.mjs";
import { askAboutHosts } from "./hosts.mjs";
import { everyNode, nodeAt, nodeOfOutput, nodesBehind } from "./nodes.mjs";
import { isOfOpenGraph, onGraphLoaded, remember, remembered, setApart } from "./ownership.mjs";
import { chooseRun, labels, readRuns } from "./run_chooser.mjs";
import { element, setAttribute } from "./viewer/dom.mjs";
import { troubleOf } from "./viewer/record.mjs";
import { Steering } from "./viewer/steering.mjs";
import { Strip } from "./viewer/strip.mjs";
import { Viewer, firstChoice, summary, viewOf } from "./viewer/viewer.mjs";
import { wrapInThinkLoop, wrapTitle } from "./wrap.mjs";

const LOAD = "RethinkLoadTrajectory";
const NODES = [
  "RethinkTrajectoryViewer",
  "RethinkThinkWhileEdit",
  "RethinkThinkLoopClose",
  "RethinkSaveTrajectory",
  LOAD,
];
const RECORD = "trajectory.json"; // of a run, in its folder
const HEIGHT = 330; // of the strip on a node, in CSS pixels, at least
const WIDTH = 420; // of a node that has one
const IDLE = "The turns of a run appear here, live while it goes on.";
const GRAPH = "workflow"; // as the editor of a loop around nodes is called in its record
const WRAP = "Rethink.WrapInThinkLoop";

/** The runs that nodes show or that go on now, by where their record lies. */
const runs = new Map();
/** Node → its Display. */
const displays = new WeakMap();

/** A run as this page knows it: its record, and `live` while it goes on (see `viewOf`). */
class Run {
  record = null;
  live = null;

  constructor(reference) {
    this.reference = reference;
  }

  address = (file) => viewAddress({ ...this.reference, filename: file });

  get view() {
    return viewOf(this.record, this.address, this.live);
  }

  /** Where to see the edit under way. number: the preview's. */
  preview = (number) => api.apiURL(`/rethink/preview?${new URLSearchParams({ run: this.reference.subfolder, number })}`);

  /** Read the record; false when it is no longer there. */
  async read() {
    const answer = await fetch(viewAddress(this.reference), { cache: "no-cache" });
    if (answer.ok) this.record = await answer.json();
    return answer.ok;
  }

  order = (wanted) => ask("/rethink/order", { run: this.reference.subfolder, ...wanted });

  /** Download the run as one HTML file. */
  export = async () => {
    const page = await ask("/rethink/export", { run: this.reference });
    if (page) element("a", { href: viewAddress(page), download: page.filename }).click();
  };
}

/** The server's answer, or null after telling the user why there is none. */
async function ask(path, wanted) {
  const reply = await api.fetchApi(path, { method: "POST", body: JSON.stringify(wanted) });
  const answer = await reply.json();
  if (reply.ok) return answer;
  notify(answer.error);
  return null;
}

const viewAddress = (reference) => api.apiURL(`/view?${new URLSearchParams(reference)}`);

function notify(detail) {
  app.extensionManager.toast.add({ severity: "warn", summary: "Rethink", detail, life: 6000 });
}

const keyOfRun = ({ type, subfolder }) => `${type} ${subfolder}`;

/** What names the record of a run to the server, from the name that outputs and Load Trajectory have for it. */
function referenceOf(name) {
  const [type, ...folders] = name.split("/");
  return { filename: RECORD, subfolder: folders.join("/"), type };
}

function runOf(reference) {
  const key = keyOfRun(reference);
  if (!runs.has(key)) {
    const shown = new Set([...everyNode(app.rootGraph)].map((node) => displays.get(node)?.run));
    for (const [other, run] of runs) if (!run.live && !shown.has(run)) runs.delete(other);
    runs.set(key, new Run(reference));
  }
  return runs.get(key);
}

/** What a node shows of a run: the strip, and a bar to steer by while it goes on. */
class Display {
  run = null;
  wanted = null; // the reference of the run that it was asked to show last
  #shown = null; // the run that the page shows: `run`, or the one before it
  #selected = -1;
  #best = -1;
  #strip = new Strip({ onselect: (index) => this.#select(index), onopen: () => openLarge(this) });
  #steering = new Steering({ send: (order) => this.run.order(order), onleave: () => this.#strip.element.focus() });
  #ending = element("p", { class: "rt-ending", role: "status" });
  #idle = element("div", { class: "rt-idle" }, IDLE);
  #parts = [this.#strip.element, this.#steering.element, this.#ending];
  element = element("div", { class: "rt rt-node" }, this.#idle, this.#parts);

  constructor() {
    for (const part of this.#parts) setAttribute(part, "hidden", true);
  }

  get selected() {
    return this.#selected;
  }

  /** Show a run, or what has become of it. Who looks at the best turn goes on to a better one. */
  show(run) {
    const { view } = run;
    if (this.#shown !== run || this.#selected === this.#best) this.#selected = firstChoice(view);
    this.run = this.#shown = run;
    this.#best = firstChoice(view);
    setAttribute(this.#idle, "hidden", true);
    setAttribute(this.#strip.element, "hidden", false);
    setAttribute(this.#ending, "hidden", Boolean(view.live));
    this.#ending.replaceChildren(...summary(view));
    setAttribute(this.#ending, "data-trouble", !view.live && troubleOf(view.record) !== "");
    this.#strip.show(view, this.#selected);
    this.#steering.show(view, this.#selected);
  }

  gone() {
    this.clear("The record of this run is no longer in its folder.");
  }

  /** Show no run. */
  clear(text = IDLE) {
    this.run = this.wanted = this.#shown = null;
    this.#idle.textContent = text;
    setAttribute(this.#idle, "hidden", false);
    for (const part of this.#parts) setAttribute(part, "hidden", true);
  }

  select(index) {
    this.#strip.select(index);
    this.#select(index);
  }

  #select(index) {
    this.#selected = index;
    this.#steering.show(this.run.view, index);
  }
}

/** The large view, of which there is one at a time. */
let large = null; // {run, viewer}

function openLarge(display) {
  const dialog = element("dialog", { class: "rt rt-dialog", "aria-label": "Trajectory" });
  const viewer = new Viewer({
    send: display.run.order,
    onexport: display.run.export,
    onclose: () => dialog.close(),
    onselect: (index) => display.select(index),
  });
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    large = null;
  });
  dialog.append(viewer.element);
  document.body.append(dialog);
  dialog.showModal();
  const { selected } = display;
  large = { run: display.run, viewer };
  viewer.show(display.run.view);
  viewer.select(selected);
  viewer.focus();
}

/** Show what has become of a run, wherever it is shown. */
function refresh(run) {
  for (const node of everyNode(app.rootGraph)) {
    const display = displays.get(node);
    if (display?.run === run) display.show(run);
  }
  if (large?.run === run) large.viewer.show(run.view);
}

/** A run has ended, or is opened from history; of several, the last, as while they went on. */
function showOutput(node, output) {
  const name = output?.rethink_run?.at(-1);
  if (name && node) showRun(node, referenceOf(name));
}

/** Nodes of other graphs that are open, here or elsewhere, have the same ids. */
async function onExecuted({ prompt_id, node, display_node, output }) {
  if (output?.rethink_run && (await isOfOpenGraph(prompt_id))) {
    showOutput(nodeAt(app.rootGraph, display_node ?? node), output);
  }
}

/** Show a run by its record; what a node is asked to show last is what it shows in the end. */
async function showRun(node, reference) {
  const display = displays.get(node);
  if (!display || (display.run?.live && display.run.reference.subfolder !== reference.subfolder)) return;
  display.wanted = reference;
  const run = runOf(reference);
  const there = await run.read();
  if (display.wanted !== reference) return;
  if (there) {
    display.show(run);
    remember(node, reference);
  } else display.gone();
}

function showRemembered() {
  for (const node of everyNode(app.rootGraph)) {
    const reference = displays.has(node) && node.comfyClass !== LOAD && remembered(node);
    if (reference) showRun(node, reference);
  }
}

const choiceOf = (node) => node.widgets.find(({ name }) => name === "run");

/** Load Trajectory shows what is chosen on it, queued or not. */
function showChosen(node) {
  const { value } = choiceOf(node);
  if (node.graph && value) showRun(node, referenceOf(value)); // not a picture of a node in a menu
}

function followChoice(node) {
  const widget = choiceOf(node);
  const { callback } = widget;
  widget.callback = function (...given) {
    callback?.apply(this, given);
    showChosen(node);
  };
  widget.options.getOptionLabel = (value) => labels.get(value) ?? value;
  const button = node.addWidget("button", "rethink_choose", "", () => void choose(node), { serialize: false });
  Object.assign(button, { label: "Choose by picture", serialize: false });
  setTimeout(() => showChosen(node)); // once a workflow has given it its value
}

async function choose(node) {
  const widget = choiceOf(node);
  const value = await chooseRun(widget.value, viewAddress);
  if (!value) return;
  if (!widget.options.values.includes(value)) widget.options.values.unshift(value); // made since the page was loaded
  widget.value = value;
  widget.callback(value);
  node.setDirtyCanvas(true);
}

/** A run goes on: {node, run, record, next, waiting, …}, see `Live.state` of nodes/run_monitor.py. */
function began({ node, run: reference, record, next, workflow, prompt, waiting, phase, images, preview }) {
  if (workflow !== app.rootGraph.id) return; // of another tab, or of a program: its nodes have the same ids
  const run = runOf(reference);
  run.record = record;
  run.prompt = prompt;
  run.live = { next: next ?? upcoming(record), waiting, phase, images, preview: preview ? run.preview(preview) : null };
  for (const watching of watchers(node)) {
    const display = displays.get(watching);
    display.wanted = reference;
    display.run = run;
    remember(watching, reference);
  }
  refresh(run);
}

/** The node that runs and those right behind it that show what it records. */
function watchers(path) {
  const behind = nodesBehind(app.rootGraph, path, "RETHINK_TRAJECTORY");
  return [nodeAt(app.rootGraph, path), ...behind].filter((node) => displays.has(node));
}

/** The turn that is made now, where nobody has said with which prompt. */
function upcoming(record) {
  const turn = (record.steps.at(-1)?.turn ?? 0) + 1;
  return { turn, prompt: turn === 1 ? record.instruction : "", prompt_by: "user" };
}

/** Events of a run that goes on: what each does to it. Messages that were missed are made up for from the record. */
const EVENTS = {
  phase(run, { phase, turn, images }) {
    Object.assign(run.live, { phase, images, waiting: false, preview: null });
    if (run.live.next.turn < turn) run.live.next = { turn, prompt: "", prompt_by: "thinker" };
  },
  preview(run, { preview }) {
    run.live.preview = run.preview(preview);
  },
  async step(run, { index, step, best }) {
    if (index > run.record.steps.length) await run.read();
    run.record.steps[index] = step;
    run.record.best = best;
  },
  next(run, { turn, prompt, prompt_by, ends, waiting }) {
    run.live = { next: { turn, prompt, prompt_by, ends }, waiting, phase: "editing", images: [], preview: null };
  },
  ended(run, { best, chosen, stopped, message }) {
    Object.assign(run.record, { best, chosen, stopped, message });
    run.live = null;
  },
};

/** What the nodes in between a loop are at: the pictures that ComfyUI shows on them while they sample. */
function showNodePreview({ blob, jobId }) {
  for (const run of runs.values()) {
    const graph = run.live && !run.live.images.length && run.record.options.editor === GRAPH && run.prompt === jobId;
    if (!graph) continue;
    URL.revokeObjectURL(run.live.blob);
    run.live.blob = run.live.preview = URL.createObjectURL(blob);
    refresh(run);
  }
}

async function takeIn(name, detail) {
  const run = runs.get(keyOfRun(detail.run));
  if (!run?.live) return; // of another workflow, or long over
  await EVENTS[name](run, detail);
  refresh(run);
}

/** Learn which runs go on: when the page was loaded, another workflow was open, or messages may have been missed. */
async function findRunning() {
  const answer = await api.fetchApi(`/rethink/running?${new URLSearchParams({ client: api.clientId })}`);
  if (!answer.ok) return;
  const running = await answer.json();
  const known = new Set(running.map(({ run }) => run.subfolder));
  for (const run of runs.values()) {
    if (!run.live || known.has(run.reference.subfolder)) continue;
    run.live = null;
    await run.read();
    refresh(run);
  }
  running.forEach(began);
}

function addDisplay(node) {
  const display = new Display();
  displays.set(node, display);
  passWheelOn(display.element);
  node.hideOutputImages = true; // the strip shows the best edit: the queue and the assets need it besides, not the node
  node.onDrawBackground = () => {}; // the same on the classic canvas
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => HEIGHT };
  const widget = node.addDOMWidget("rethink_trajectory", "RETHINK_TRAJECTORY_VIEW", display.element, options);
  widget.serialize = false;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0], WIDTH), Math.max(height, node.size[1])]);
}

/** The graph of a tab has been loaded: what its nodes show belongs to it, and to no other that was here before. */
function onLoaded() {
  for (const node of everyNode(app.rootGraph)) {
    if (node.comfyClass !== LOAD && !remembered(node)) displays.get(node)?.clear();
  }
  showRemembered();
  findRunning();
}

app.registerExtension({
  name: "Rethink",
  commands: [{ id: WRAP, label: wrapTitle, icon: "pi pi-sync", function: () => wrapInThinkLoop(app, notify) }],
  menuCommands: [{ path: ["Edit"], commands: [WRAP] }],
  getSelectionToolboxCommands: (item) => (item.outputs?.some((output) => output.type === "IMAGE") ? [WRAP] : []),
  setup() {
    const style = new URL("./viewer/viewer.css", import.meta.url).href;
    document.head.append(element("link", { rel: "stylesheet", href: style }));
    askAboutHosts(api, notify);
    api.addEventListener("rethink.began", ({ detail }) => began(detail));
    for (const name of Object.keys(EVENTS)) {
      api.addEventListener(`rethink.${name}`, ({ detail }) => takeIn(name, detail));
    }
    api.addEventListener("executed", ({ detail }) => onExecuted(detail));
    api.addEventListener("b_preview_with_metadata", ({ detail }) => showNodePreview(detail));
    api.addEventListener("reconnected", findRunning);
    onGraphLoaded(onLoaded);
    readRuns(); // for nodes that are added by hand
    api.addEventListener("status", () => {
      // Of the queue, and told to every page: a loop may have been cut off.
      if ([...runs.values()].some((run) => run.live)) findRunning();
    });
  },
  nodeCreated(node) {
    if (node.comfyClass === LOAD) followChoice(node);
    if (NODES.includes(node.comfyClass)) addDisplay(node);
  },
  async beforeConfigureGraph(workflow) {
    setApart(workflow);
    if (JSON.stringify(workflow).includes(LOAD)) await readRuns(); // the list is drawn once, with what is known by then
  },
  refreshComboInNodes: readRuns,
  onNodeOutputsUpdated(outputs) {
    for (const [key, output] of Object.entries(outputs)) showOutput(nodeOfOutput(app.rootGraph, key), output);
  },
});
