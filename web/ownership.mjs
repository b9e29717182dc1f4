/**
 * Whose a run is: a run belongs to the graph that it was queued from, and a graph to the page that shows it. Graphs are
 * told apart by their id; copies of one (a file that is dropped twice) get ids of their own, as ComfyUI's Duplicate does.
 */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const OURS = '"Rethink'; // with which the types of our nodes begin in a workflow's JSON
const MEMORY = "Rethink.runs"; // of this page, across reloads: which run each node showed last, [[node, run], …]
const REMEMBERED = 100;

const store = () => app.extensionManager.workflow;
const hasOurs = (workflow) => JSON.stringify(workflow).includes(OURS);

/** So that a page that is loaded again finds the runs again, without a word of them in the workflow. */
export function remember(node, run) {
  const others = memory().filter(([key]) => key !== keyOf(node));
  sessionStorage.setItem(MEMORY, JSON.stringify([[keyOf(node), run], ...others].slice(0, REMEMBERED)));
}

/** The run that a node of the open graph showed last; undefined when there is none. */
export const remembered = (node) => new Map(memory()).get(keyOf(node));

const memory = () => JSON.parse(sessionStorage.getItem(MEMORY) ?? "[]");
const keyOf = (node) => `${app.rootGraph.id} ${node.graph.id} ${node.id}`; // two workflows may hold the same subgraph

/** A workflow that is about to be loaded over itself is not undone but opened again: another graph. */
export function setApart(workflow) {
  const open = store()?.activeWorkflow;
  const undoing = open?.changeTracker?._restoringState;
  if (workflow.id && open?.activeState?.id === workflow.id && !undoing && hasOurs(workflow)) {
    workflow.id = crypto.randomUUID();
  }
}

/** Have `settled()` called whenever the graph of a tab has been loaded and its id is final. */
export function onGraphLoaded(settled) {
  const workflows = store();
  workflows.$onAction(({ name, args, after }) => {
    if (name === "createNewTemporary") setCopyApart(args[1], workflows);
    if (name === "openWorkflow") after(settled);
  });
}

/** state: what a new tab holds. It is of its own, if another tab shows that graph or a closed one has run it. */
function setCopyApart(state, { openWorkflows }) {
  const shown = openWorkflows.some((workflow) => workflow.activeState?.id === state?.id);
  const known = shown || memory().some(([key]) => key.startsWith(`${state?.id} `));
  if (known && hasOurs(state)) state.id = app.rootGraph.id = crypto.randomUUID();
}

const graphs = new Map(); // prompt → Promise of the id of the graph it was queued from

/** Whether a prompt was queued from the graph that is open now: nodes of others have the same ids. */
export async function isOfOpenGraph(prompt) {
  if (!graphs.has(prompt)) {
    if (graphs.size > REMEMBERED) graphs.clear();
    graphs.set(prompt, graphOf(prompt));
  }
  return (await graphs.get(prompt)) === app.rootGraph.id;
}

async function graphOf(prompt) {
  const answer = await api.fetchApi(`/jobs/${prompt}`);
  return answer.ok ? (await answer.json()).workflow_id : null;
}
