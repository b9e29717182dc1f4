/**
 * The outputs of the pack's nodes, whenever they arrive: during a run, with a job opened from the queue or another tab,
 * and after a page reload from the history, which the front end does not read.
 */

import { api, app } from "./comfyui.mjs";
import { everyNode, nodeOfOutput } from "./graph.mjs";

/** @typedef {(node: ComfyNode, outputs: ComfyOutputs) => void} OutputListener */

const MAX_JOBS = 4; // the newest of a workflow: a node that was not in the last one may have been in an earlier one
const FINAL_STATUSES = "completed,failed,cancelled";

/** @type {OutputListener[]} */
const listeners = [];
/** @type {WeakSet<ComfyNode>} */
const served = new WeakSet(); // nodes that got an output since the workflow was opened

/** Call `listener` with every output that a node of the pack gets. @param {OutputListener} listener */
export const onOutput = (listener) => listeners.push(listener);

/** @param {ComfyNode} node */
const isOurs = (node) => Boolean(node.comfyClass?.startsWith("Rethink"));

/** @param {ComfyNode | null} node @param {ComfyOutputs | undefined} outputs */
function deliver(node, outputs) {
  if (!node || !isOurs(node) || !outputs) return;
  served.add(node);
  for (const listener of listeners) listener(node, outputs);
}

/** Deliver outputs that the front end took from a job. @param {Record<string, ComfyOutputs>} outputs */
export function deliverOutputs(outputs) {
  for (const [key, output] of Object.entries(outputs)) deliver(nodeOfOutput(app.rootGraph, key), output);
}

/** Deliver everything a node outputs when it runs. @param {ComfyNode} node */
export function watchOutputs(node) {
  if (!isOurs(node)) return;
  const { onExecuted } = node;
  node.onExecuted = function (...outputs) {
    onExecuted?.apply(this, outputs);
    deliver(node, outputs[0]);
  };
}

/** Deliver the outputs of the open workflow's newest runs to the nodes that have none yet. */
export async function deliverHistory() {
  const graph = app.rootGraph;
  const workflow = graph.id;
  const isOpen = () => graph === app.rootGraph && graph.id === workflow;
  const isWaiting = () => isOpen() && [...everyNode(graph)].some((node) => isOurs(node) && !served.has(node));
  if (!isWaiting()) return;
  const query = new URLSearchParams({ workflow_id: workflow, status: FINAL_STATUSES, limit: String(MAX_JOBS) });
  const { jobs = [] } = await fetchJson(`/jobs?${query}`);
  for (const { id } of jobs) {
    const { outputs = {}, workflow: job } = isWaiting() ? await fetchJson(`/jobs/${id}`) : {};
    if (!isWaiting()) return;
    const rows = Object.keys(outputs).map((key) => ({ key, node: nodeOfOutput(graph, key) }));
    for (const { key, node } of rows) {
      const type = job?.prompt?.[key]?.class_type; // the id may belong to another node by now
      if (node && !served.has(node) && (!type || type === node.comfyClass)) deliver(node, outputs[key]);
    }
  }
}

/** @param {string} path */
async function fetchJson(path) {
  const reply = await api.fetchApi(path);
  return reply.ok ? reply.json() : {};
}
