/** Which node shows which training: while it runs, after a page reload, and from the history. */

import { passWheelOn } from "../canvas_wheel.mjs";
import { api, app, viewUrl } from "../comfyui.mjs";
import { everyNode, nodeAt } from "../graph.mjs";
import { recallRun, rememberRun } from "../ownership.mjs";
import { element } from "../viewer/dom.mjs";
import { TrainingView } from "./training_view.mjs";

/** @typedef {import("../comfyui.mjs").FileReference} FileReference */
/** @typedef {import("./record.mjs").Training} Training */

/**
 * What the server reports about a running training; see `state` in nodes/training_monitor.py.
 *
 * @typedef {object} TrainingEvent
 * @property {string} node path of the node that trains
 * @property {string} workflow id of the graph that it was queued from
 * @property {FileReference | null} run its record; null before there is a folder
 * @property {Training | null} view
 * @property {boolean} live
 * @property {string} line its current activity
 */

const NODE_TYPE = "RethinkTrainEditLora";
const [MIN_WIDTH, MIN_HEIGHT] = [520, 460]; // of the node and of its view, in CSS pixels

/** @type {WeakMap<ComfyNode, TrainingView>} */
const views = new WeakMap();

/** Give a node its view, if it is one that trains. @param {ComfyNode} node */
export function addTrainingView(node) {
  if (node.comfyClass !== NODE_TYPE) return;
  const view = new TrainingView(() => openLarge(view));
  views.set(node, view);
  passWheelOn(view.element);
  node.hideOutputImages = true;
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => MIN_HEIGHT };
  const widget = node.addDOMWidget("rethink_training", "RETHINK_TRAINING", view.element, options);
  widget.serialize = false;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0], MIN_WIDTH), Math.max(height, node.size[1])]);
}

/** Take the server's messages from now on. */
export function watchTrainings() {
  api.addEventListener("rethink.training", ({ detail }) => showLive(detail));
  api.addEventListener("reconnected", findLiveTrainings);
}

/** @param {TrainingEvent} event */
function showLive({ node: path, workflow, run, view: training, live, line }) {
  if (workflow !== app.rootGraph.id) return; // from another tab, or from a program: its nodes have the same ids
  const node = nodeAt(app.rootGraph, path);
  const view = node && views.get(node);
  if (!view) return;
  view.show({ view: training, live, line, address: addressIn(run) });
  if (run) rememberRun(node, run);
  refreshLarge(view);
}

/** Show running trainings: after a page load, a workflow switch, or possibly missed messages. */
export async function findLiveTrainings() {
  const reply = await api.fetchApi(`/rethink/trainings?${new URLSearchParams({ client: api.clientId })}`);
  if (reply.ok) for (const event of await reply.json()) showLive(event);
}

/**
 * Show the training that a node outputs: it has ended, or was opened from the history.
 *
 * @param {ComfyNode} node
 * @param {ComfyOutputs} outputs
 */
export function showTraining(node, { rethink_training: outputs }) {
  const run = outputs?.at(-1);
  if (run) showRecord(node, run);
}

/** Show what the nodes of a graph that has just been loaded showed last. */
export async function restoreTrainings() {
  const nodes = [...everyNode(app.rootGraph)].filter((node) => views.has(node));
  await Promise.all(
    nodes.map((node) => {
      const run = recallRun(node);
      return run && showRecord(node, run);
    }),
  );
  await findLiveTrainings();
}

/** @param {ComfyNode} node @param {FileReference} run */
async function showRecord(node, run) {
  const view = views.get(node);
  if (!view || view.state?.live) return;
  const reply = await api.fetchApi(`/rethink/training?${new URLSearchParams({ ...run })}`);
  if (view.state?.live) return; // it has started again meanwhile
  if (reply.ok) {
    view.show({ view: await reply.json(), live: false, line: "", address: addressIn(run) });
    rememberRun(node, run);
    refreshLarge(view);
  } else view.showMissing();
}

/** The addresses of a run's files, whose names include their folders. @param {FileReference | null} run */
const addressIn = (run) => (/** @type {string} */ file) => {
  if (!run) return "";
  const [filename, ...folders] = file.split("/").reverse();
  return viewUrl({ ...run, filename, subfolder: [run.subfolder, ...folders.reverse()].join("/") });
};

/** The large view over ComfyUI's window; there is one at a time. @type {{of: TrainingView, view: TrainingView} | null} */
let large = null;

/** @param {TrainingView} of */
function openLarge(of) {
  const { state, selected } = of;
  if (!state) return;
  const dialog = element("dialog", { class: "rt rt-dialog rethink-large", "aria-label": "Training" });
  const close = element("button", { type: "button", class: "rt-button", onclick: () => dialog.close() }, "Close");
  const header = element(
    "header",
    { class: "rt-header" },
    element("h1", { class: "rt-title" }, state.view?.title ?? ""),
    close,
  );
  const view = new TrainingView();
  dialog.append(header, view.element);
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // the page below has its own keys
  dialog.addEventListener("close", () => {
    dialog.remove();
    large = null;
  });
  document.body.append(dialog);
  dialog.showModal();
  large = { of, view };
  view.show(state, selected);
}

/** @param {TrainingView} of */
function refreshLarge(of) {
  if (large?.of === of && of.state) large.view.show(of.state);
}
