/**
 * What the pack's nodes show of their runs, whenever it comes: with the run itself, with a job opened from the queue or
 * another tab, and from the history when a page is loaded again, which the front end does not look into.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { everyNode, nodeOfOutput } from "./nodes.mjs";

const RUNS = 4; // the newest of a workflow: a node that was not in the last may have been in one before
const OVER = "completed,failed,cancelled";

const listeners = [];
const told = new WeakSet(); // nodes that got an output since the workflow was opened

/** listener(node, output) is called with every output that a node of the pack gets. */
export const onOutput = (listener) => listeners.push(listener);

const isOurs = (node) => Boolean(node?.comfyClass?.startsWith("Rethink"));

function tell(node, output) {
  if (!isOurs(node) || !output) return;
  told.add(node);
  for (const listener of listeners) listener(node, output);
}

async function ask(path) {
  const answer = await api.fetchApi(path);
  return answer.ok ? answer.json() : {};
}

/** The outputs of the newest runs of the workflow that is open, for those nodes that have none yet. */
async function readHistory() {
  const graph = app.rootGraph;
  const workflow = graph.id;
  const waiting = () => graph === app.rootGraph && graph.id === workflow && [...everyNode(graph)].some((node) => isOurs(node) && !told.has(node));
  if (!waiting()) return;
  const { jobs = [] } = await ask(`/jobs?${new URLSearchParams({ workflow_id: workflow, status: OVER, limit: RUNS })}`);
  for (const { id } of jobs) {
    const { outputs = {}, workflow: queued } = waiting() ? await ask(`/jobs/${id}`) : {};
    if (!waiting()) return;
    const found = Object.entries(outputs).map(([key, output]) => ({ key, output, node: nodeOfOutput(graph, key) }));
    for (const { key, output, node } of found) {
      const kind = queued?.prompt?.[key]?.class_type; // the id may be another node's by now
      if (node && !told.has(node) && (!kind || kind === node.comfyClass)) tell(node, output);
    }
  }
}

app.registerExtension({
  name: "Rethink.Outputs",
  nodeCreated(node) {
    if (!isOurs(node)) return;
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.apply(this, arguments);
      tell(node, output);
    };
  },
  onNodeOutputsUpdated(outputs) {
    for (const [key, output] of Object.entries(outputs)) tell(nodeOfOutput(app.rootGraph, key), output);
  },
  afterConfigureGraph() {
    readHistory();
  },
});
