/** The runs that Load Trajectory offers, to be told apart: by picture, instruction, date and score. */

import { api } from "../../scripts/api.js";
import { element } from "./viewer/dom.mjs";
import { number } from "./viewer/record.mjs";
import { ownScroll } from "./viewer/wheel.mjs";

/** Run → what the list says instead of the name of its folder. */
export const labels = new Map();

const WORDS = 60; // letters of an instruction in a line of the list

/** Read what there is. → [{run, instruction, date, turns, score, picture} or {run, date, error}, …], the newest first. */
export async function readRuns() {
  const answer = await api.fetchApi("/rethink/runs");
  const runs = answer.ok ? await answer.json() : [];
  for (const run of runs) labels.set(run.run, labelOf(run));
  return runs;
}

function labelOf({ run, instruction, date, score, error }) {
  const words = instruction?.length > WORDS ? `${instruction.slice(0, WORDS)}…` : instruction;
  return `${words ?? run} · ${dateOf(date)} · ${error ? "cannot be read" : scoreOf(score)}`;
}

const dateOf = (seconds) => new Date(1000 * seconds).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
const scoreOf = (score) => (score === null ? "not judged" : `score ${number(score)}`);

/** Let a person choose among all runs, of which `current` is chosen now. → its name, or null. */
export async function chooseRun(current, address) {
  const runs = await readRuns();
  return new Promise((resolve) => {
    const dialog = element("dialog", { class: "rt rt-dialog rt-chooser", "aria-label": "Choose a run" });
    const choose = (run) => {
      resolve(run);
      dialog.close();
    };
    const close = element("button", { type: "button", class: "rt-button", onclick: () => dialog.close() }, "Close");
    const cards = element("div", { class: "rt-runs" }, runs.map((run) => card(run, current, address, choose)));
    if (!runs.length) cards.append(element("p", { class: "rt-empty" }, "There is no run in ComfyUI's output folder yet."));
    dialog.append(element("header", { class: "rt-header" }, element("h1", { class: "rt-title" }, "Choose a run"), close), cards);
    dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => event.stopPropagation()); // the page below has keys of its own
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(null);
    });
    ownScroll(cards);
    document.body.append(dialog);
    dialog.showModal();
    cards.querySelector("[aria-current]")?.focus();
  });
}

function card(run, current, address, choose) {
  const { picture, instruction, date, turns, score, error } = run;
  const facts = error ? [error] : [dateOf(date), `${turns} turn${turns === 1 ? "" : "s"}`, scoreOf(score)];
  return element(
    "button",
    { type: "button", class: "rt-run", title: run.run, disabled: Boolean(error), "aria-current": run.run === current && "true", onclick: () => choose(run.run) },
    element("span", { class: "rt-thumb" }, picture ? element("img", { src: address(picture), alt: "", loading: "lazy", draggable: "false" }) : null),
    element("b", {}, instruction ?? run.run),
    element("small", {}, facts.join(" · ")),
  );
}
