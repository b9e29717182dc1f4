/**
 * Which page a run belongs to: a run belongs to the graph that it was queued from, and a graph to the page that shows it.
 * Graphs are identified by their ids; copies of one (a file that is dropped twice) get their own ids, as with ComfyUI's
 * Duplicate.
 */

import { api, app } from "./comfyui.mjs";

/** @typedef {import("./comfyui.mjs").FileReference} FileReference */

const TYPE_PREFIX = '"Rethink'; // the start of our nodes' types in a workflow's JSON
const STORAGE_KEY = "Rethink.runs"; // for this page, across reloads: the run each node showed last, [[node, run], …]
const MAX_ENTRIES = 100;

const workflowStore = () => app.extensionManager.workflow;

/** @param {ComfyWorkflowState} workflow */
const hasOurNodes = (workflow) => JSON.stringify(workflow).includes(TYPE_PREFIX);

/**
 * Remember which run a node shows, so that a reloaded page finds it, without storing it in the workflow.
 *
 * @param {ComfyNode} node
 * @param {FileReference} run
 */
export function rememberRun(node, run) {
  const others = entries().filter(([key]) => key !== keyOfNode(node));
  sessionStorage.setItem(STORAGE_KEY, JSON.stringify([[keyOfNode(node), run], ...others].slice(0, MAX_ENTRIES)));
}

/** The run that a node of the open graph showed last; undefined when there is none. @param {ComfyNode} node */
export const recallRun = (node) => new Map(entries()).get(keyOfNode(node));

/** @returns {[string, FileReference][]} */
const entries = () => JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]");

/** Two workflows may hold the same subgraph. @param {ComfyNode} node */
const keyOfNode = (node) => `${app.rootGraph.id} ${node.graph?.id} ${node.id}`;

/**
 * Give a workflow that is about to be loaded over itself a new id, if it is being reopened rather than undone.
 *
 * @param {ComfyWorkflowState} workflow
 */
export function separateReopened(workflow) {
  const open = workflowStore()?.activeWorkflow;
  const undoing = open?.changeTracker?._restoringState;
  if (workflow.id && open?.activeState?.id === workflow.id && !undoing && hasOurNodes(workflow)) {
    workflow.id = crypto.randomUUID();
  }
}

/**
 * Call `listener()` whenever the graph of a tab has been loaded and its id is final.
 *
 * @param {() => void} listener
 */
export function onGraphLoaded(listener) {
  const workflows = workflowStore();
  workflows.$onAction(({ name, args, after }) => {
    if (name === "createNewTemporary") separateCopy(args[1], workflows);
    if (name === "openWorkflow") after(listener);
  });
}

/**
 * Give the graph of a new tab a new id, if another tab shows that graph or a closed one has run it.
 *
 * @param {ComfyWorkflowState | undefined} state
 * @param {ComfyWorkflowStore} workflows
 */
function separateCopy(state, { openWorkflows }) {
  if (!state) return;
  const isOpen = openWorkflows.some((workflow) => workflow.activeState?.id === state.id);
  const hasRun = entries().some(([key]) => key.startsWith(`${state.id} `));
  if ((isOpen || hasRun) && hasOurNodes(state)) state.id = app.rootGraph.id = crypto.randomUUID();
}

/** @type {Map<string, Promise<string | null>>} prompt → the id of the graph it was queued from */
const graphIds = new Map();

/**
 * Whether a prompt was queued from the graph that is open now: nodes of other graphs have the same ids.
 *
 * @param {string} prompt
 */
export async function isFromOpenGraph(prompt) {
  let graphId = graphIds.get(prompt);
  if (!graphId) {
    if (graphIds.size > MAX_ENTRIES) graphIds.clear();
    graphId = fetchGraphId(prompt);
    graphIds.set(prompt, graphId);
  }
  return (await graphId) === app.rootGraph.id;
}

/** @param {string} prompt */
async function fetchGraphId(prompt) {
  const reply = await api.fetchApi(`/jobs/${prompt}`);
  return reply.ok ? (await reply.json()).workflow_id : null;
}
