/** The messages that the server sends about running runs, and how each one changes the run shown on this page. */

import { api, app } from "./comfyui.mjs";
import { refresh, showLiveRun } from "./node_runs.mjs";
import { liveRun, liveRuns, Run } from "./runs.mjs";

/** @typedef {import("./comfyui.mjs").FileReference} FileReference */
/** @typedef {import("./viewer/trajectory.mjs").Step} Step */
/** @typedef {import("./viewer/trajectory.mjs").Trajectory} Trajectory */
/** @typedef {import("./viewer/view.mjs").LiveState} LiveState */
/** @typedef {import("./viewer/view.mjs").NextTurn} NextTurn */

/**
 * A run that has started, or was running when this page was loaded; see `state` in nodes/run_monitor.py.
 *
 * @typedef {object} StartEvent
 * @property {string} node path of the node that runs
 * @property {FileReference} run
 * @property {Trajectory} record
 * @property {NextTurn | null} next null: the next prompt is not known yet
 * @property {string} workflow id of the graph that it was queued from
 * @property {string} prompt id
 * @property {boolean} waiting
 * @property {LiveState["phase"]} phase
 * @property {string[]} images
 * @property {number} preview its number, 0 if there is none
 */

/**
 * The other messages by name. A missed message is recovered from the record.
 *
 * @typedef {object} EventDetails
 * @property {{phase: LiveState["phase"], turn: number, images: string[]}} phase
 * @property {{preview: number}} preview
 * @property {{index: number, step: Step, best: number | null}} step
 * @property {NextTurn & {waiting: boolean}} next
 * @property {Pick<Trajectory, "best" | "chosen" | "stopped" | "message">} ended
 */

/**
 * @template {keyof EventDetails} Kind
 * @typedef {(run: Run, detail: EventDetails[Kind], live: LiveState) => void | Promise<void>} Handler
 */

/** @type {{[Kind in keyof EventDetails]: Handler<Kind>}} */
const HANDLERS = {
  phase(run, { phase, turn, images }, live) {
    const next = live.next.turn < turn ? nextTurn(turn, "", "thinker") : live.next;
    run.live = { next, phase, images, waiting: false, preview: null };
  },
  preview(run, { preview }, live) {
    run.live = { ...live, preview: run.previewUrl(preview) };
  },
  async step(run, { index, step, best }) {
    if (index > run.record.steps.length) await run.reload();
    run.record.steps[index] = step;
    run.record.best = best;
  },
  next(run, { turn, prompt, prompt_by, ends, waiting }) {
    run.live = { next: { turn, prompt, prompt_by, ends }, waiting, phase: "editing", images: [], preview: null };
  },
  ended(run, { best, chosen, stopped, message }) {
    Object.assign(run.record, { best, chosen, stopped, message });
    endRun(run);
  },
};

/** @type {(turn: number, prompt: string, prompt_by: NextTurn["prompt_by"]) => NextTurn} */
const nextTurn = (turn, prompt, prompt_by) => ({ turn, prompt, prompt_by });

/** @param {Run} run */
function endRun(run) {
  run.live = null;
  liveRuns.delete(run.key);
}

/** Take the server's messages from now on. */
export function watchRuns() {
  api.addEventListener("rethink.began", ({ detail }) => onRunStarted(detail));
  for (const kind of /** @type {(keyof EventDetails)[]} */ (Object.keys(HANDLERS))) {
    api.addEventListener(`rethink.${kind}`, ({ detail }) => handleEvent(kind, detail));
  }
  api.addEventListener("b_preview_with_metadata", ({ detail }) => showNodePreview(detail));
  api.addEventListener("reconnected", findLiveRuns);
  api.addEventListener("status", () => {
    if (liveRuns.size) findLiveRuns(); // of the queue, and sent to every page: a loop may have been interrupted
  });
}

/** @param {StartEvent} event */
function onRunStarted({ node, run: reference, record, next, workflow, prompt, waiting, phase, images, preview }) {
  if (workflow !== app.rootGraph.id) return; // from another tab, or from a program: its nodes have the same ids
  const run = liveRun(reference) ?? new Run(reference, record);
  liveRuns.set(run.key, run);
  run.record = record;
  run.prompt = prompt;
  run.live = {
    next: next ?? firstTurn(record),
    waiting,
    phase,
    images,
    preview: preview ? run.previewUrl(preview) : null,
  };
  showLiveRun(node, run);
}

/** The turn in progress, if its prompt is not known. @param {Trajectory} record */
function firstTurn({ steps, instruction }) {
  const turn = (steps.at(-1)?.turn ?? 0) + 1;
  return nextTurn(turn, turn === 1 ? instruction : "", "user");
}

/**
 * @template {keyof EventDetails} Kind
 * @param {Kind} kind
 * @param {EventDetails[Kind] & {run: FileReference}} detail
 */
async function handleEvent(kind, detail) {
  const run = liveRun(detail.run);
  if (!run?.live) return; // from another workflow, or long finished
  await HANDLERS[kind](run, detail, run.live);
  refresh(run);
}

/**
 * Show the progress of the nodes inside a loop: the image that ComfyUI shows on them while they sample.
 *
 * @param {{blob: Blob, jobId: string}} preview
 */
function showNodePreview({ blob, jobId }) {
  for (const run of liveRuns.values()) {
    if (run.live?.images.length || !run.isEditedByGraph || run.prompt !== jobId) continue;
    run.showPreview(blob);
    refresh(run);
  }
}

/** Find out which runs are running: after a page load, a workflow switch, or possibly missed messages. */
export async function findLiveRuns() {
  const known = [...liveRuns.values()].map((run) => ({ run, live: run.live }));
  const reply = await api.fetchApi(`/rethink/running?${new URLSearchParams({ client: api.clientId })}`);
  if (!reply.ok) return;
  /** @type {StartEvent[]} */
  const events = await reply.json();
  const going = new Set(events.map(({ run }) => run.subfolder));
  for (const { run, live } of known) {
    if (going.has(run.reference.subfolder) || run.live !== live) continue; // or it started after the server was asked
    endRun(run);
    await run.reload();
    refresh(run);
  }
  const ended = new Set(known.filter(({ run }) => !run.live).map(({ run }) => run.reference.subfolder)); // since then
  for (const event of events) if (!ended.has(event.run.subfolder)) onRunStarted(event);
}
