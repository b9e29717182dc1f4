/** Which node shows which run. */

import { passWheelOn } from "./canvas_wheel.mjs";
import { app } from "./comfyui.mjs";
import { Display } from "./display.mjs";
import { everyNode, nodeAt, nodeOfOutput, nodesBehind } from "./graph.mjs";
import { openLargeView, refreshLargeView } from "./large_view.mjs";
import { isFromOpenGraph, recallRun, rememberRun } from "./ownership.mjs";
import { readRun, referenceOf } from "./runs.mjs";

/** @typedef {import("./comfyui.mjs").FileReference} FileReference */
/** @typedef {import("./runs.mjs").Run} Run */

export const LOAD_TRAJECTORY = "RethinkLoadTrajectory";
const NODE_TYPES = [
  "RethinkTrajectoryViewer",
  "RethinkThinkWhileEdit",
  "RethinkThinkLoopClose",
  "RethinkSaveTrajectory",
  LOAD_TRAJECTORY,
];
const MIN_HEIGHT = 330; // of the strip on a node, in CSS pixels
const MIN_WIDTH = 420; // of a node that has one

/** @type {WeakMap<ComfyNode, Display>} */
const displays = new WeakMap();

/** @returns {Generator<[ComfyNode, Display]>} */
function* everyDisplay() {
  for (const node of everyNode(app.rootGraph)) {
    const display = displays.get(node);
    if (display) yield [node, display];
  }
}

/** Give a node its display of runs, if it is of a type that has one. @param {ComfyNode} node */
export function addDisplay(node) {
  if (!NODE_TYPES.includes(node.comfyClass ?? "")) return;
  const display = new Display(openLargeView);
  displays.set(node, display);
  passWheelOn(display.element);
  node.hideOutputImages = true; // the strip shows the best edit; only the queue and the assets need the output image
  node.onDrawBackground = () => {}; // the same on the classic canvas
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => MIN_HEIGHT };
  const widget = node.addDOMWidget("rethink_trajectory", "RETHINK_TRAJECTORY_VIEW", display.element, options);
  widget.serialize = false;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0], MIN_WIDTH), Math.max(height, node.size[1])]);
}

/** Show the new state of a run, wherever it is shown. @param {Run} run */
export function refresh(run) {
  for (const [, display] of everyDisplay()) if (display.run?.key === run.key) display.show(run);
  refreshLargeView(run);
}

/**
 * Show a running run on the node that runs it, and on the nodes connected to it that show its record.
 *
 * @param {string} path of the node that runs
 * @param {Run} run
 */
export function showLiveRun(path, run) {
  const { rootGraph } = app;
  for (const node of [nodeAt(rootGraph, path), ...nodesBehind(rootGraph, path, "RETHINK_TRAJECTORY")]) {
    const display = node && displays.get(node);
    if (!display) continue;
    display.target = run.reference;
    display.run = run;
    rememberRun(node, run.reference);
  }
  refresh(run);
}

/**
 * Show a run by its record. If a node is asked for several runs in a row, it shows the last one.
 *
 * @param {ComfyNode} node
 * @param {FileReference} reference
 */
export async function showRun(node, reference) {
  const display = displays.get(node);
  if (!display || (display.run?.live && display.run.reference.subfolder !== reference.subfolder)) return;
  display.target = reference;
  const run = await readRun(reference);
  if (display.target !== reference) return;
  if (run) {
    display.show(run);
    rememberRun(node, reference);
  } else display.showMissing();
}

/**
 * Show the run that a node outputs: it has ended, or was opened from the history. Of several runs, show the last one, as
 * during the run.
 *
 * @param {ComfyNode | null} node
 * @param {ComfyOutputs | undefined} outputs
 */
function showOutput(node, outputs) {
  const runName = outputs?.rethink_run?.at(-1);
  if (runName && node) showRun(node, referenceOf(runName));
}

/** Show the runs among outputs that the front end took from a job. @param {Record<string, ComfyOutputs>} outputs */
export function showOutputs(outputs) {
  for (const [key, output] of Object.entries(outputs)) showOutput(nodeOfOutput(app.rootGraph, key), output);
}

/**
 * Show the run of a node that has just run. Nodes of other open graphs, here or elsewhere, have the same ids.
 *
 * @param {{prompt_id: string, node: string, display_node?: string, output?: ComfyOutputs}} executed
 */
export async function showExecuted({ prompt_id, node, display_node, output }) {
  if (output?.rethink_run && (await isFromOpenGraph(prompt_id))) {
    showOutput(nodeAt(app.rootGraph, display_node ?? node), output);
  }
}

/**
 * Restore what the nodes of a newly loaded graph showed last, and clear what the previous graph has left.
 */
export function restoreRuns() {
  for (const [node, display] of everyDisplay()) {
    if (node.comfyClass === LOAD_TRAJECTORY) continue;
    const reference = recallRun(node);
    if (reference) showRun(node, reference);
    else display.clear();
  }
}
