/** The runs that Load Trajectory offers, labeled by score, date and instruction, and shown by image in a dialog. */

import { api, viewUrl } from "./comfyui.mjs";
import { element } from "./viewer/dom.mjs";
import { formatNumber, plural } from "./viewer/trajectory.mjs";
import { captureScroll } from "./viewer/wheel.mjs";

/**
 * A run, or what is known about one that cannot be read.
 *
 * @typedef {object} RunSummary
 * @property {string} run its name
 * @property {number} date seconds since 1970
 * @property {string} [instruction]
 * @property {number} [turns]
 * @property {number | null} [score]
 * @property {import("./comfyui.mjs").FileReference} [picture] its best edit
 * @property {string} [error] why it cannot be read
 */

const MAX_LETTERS = 60; // of an instruction in a line of the list

/** @type {Map<string, string>} run → its label in the list, in place of its folder name */
export const runLabels = new Map();

/**
 * Read the list of runs.
 *
 * @returns {Promise<RunSummary[]>} the newest first
 */
export async function fetchRuns() {
  const reply = await api.fetchApi("/rethink/runs");
  /** @type {RunSummary[]} */
  const runs = reply.ok ? await reply.json() : [];
  for (const run of runs) runLabels.set(run.run, labelOf(run));
  return runs;
}

/** The facts come first, because the closed list of a narrow node cuts off the end. @param {RunSummary} summary */
export function labelOf({ run, instruction = run, date, score, error }) {
  const text = instruction.length > MAX_LETTERS ? `${instruction.slice(0, MAX_LETTERS)}…` : instruction;
  return [error ? "cannot be read" : describeScore(score), formatDate(date), text].join(" · ");
}

/** @param {number} seconds */
const formatDate = (seconds) =>
  new Date(1000 * seconds).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

/** @param {number | null | undefined} score */
const describeScore = (score) => (score === null ? "not judged" : `score ${formatNumber(score)}`);

/**
 * Let a person choose among all runs.
 *
 * @param {string} current the run that is chosen now
 * @returns {Promise<string | null>} the name of a run; null: none was chosen
 */
export async function chooseRun(current) {
  const runs = await fetchRuns();
  return new Promise((resolve) => {
    const dialog = element("dialog", { class: "rt rt-dialog rt-chooser", "aria-label": "Choose a run" });
    /** @param {string} run */
    const choose = (run) => {
      resolve(run);
      dialog.close();
    };
    const close = element("button", { type: "button", class: "rt-button", onclick: () => dialog.close() }, "Close");
    const header = element(
      "header",
      { class: "rt-header" },
      element("h1", { class: "rt-title" }, "Choose a run"),
      close,
    );
    const cards = element(
      "div",
      { class: "rt-runs" },
      runs.map((run) => runCard(run, current, choose)),
      runs.length ? null : element("p", { class: "rt-empty" }, "There are no runs in ComfyUI's output folder yet."),
    );
    dialog.append(header, cards);
    dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => event.stopPropagation()); // the page below has its own keys
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(null);
    });
    captureScroll(cards);
    document.body.append(dialog);
    dialog.showModal();
    const chosen = cards.querySelector("[aria-current]");
    if (chosen instanceof HTMLElement) chosen.focus();
  });
}

/** @param {RunSummary} summary @param {string} current @param {(run: string) => void} choose */
function runCard({ run, picture, instruction, date, turns = 0, score, error }, current, choose) {
  const facts = error ? [error] : [formatDate(date), plural(turns, "turn"), describeScore(score)];
  const attributes = { src: picture && viewUrl(picture), alt: "", loading: "lazy", draggable: "false" };
  return element(
    "button",
    {
      type: "button",
      class: "rt-run",
      title: run,
      disabled: Boolean(error),
      "aria-current": run === current && "true",
      onclick: () => choose(run),
    },
    element("span", { class: "rt-thumb" }, picture ? element("img", attributes) : null),
    element("b", {}, instruction ?? run),
    element("small", {}, facts.join(" · ")),
  );
}
