/** What every part of the viewer shows of a run, and the state of the run. */

import { element } from "./dom.mjs";
import { endLabel, plural, troubleOf, turnsOf } from "./trajectory.mjs";

/** @typedef {import("./trajectory.mjs").Trajectory} Trajectory */
/** @typedef {import("./trajectory.mjs").Turn} Turn */

/**
 * A turn that has no step yet.
 *
 * @typedef {object} NextTurn
 * @property {number} turn its number
 * @property {string} prompt
 * @property {import("./trajectory.mjs").PromptAuthor} prompt_by
 * @property {"accepted" | "plateau" | ""} [ends] why the thinker would stop before it
 */

/**
 * The state of a running run.
 *
 * @typedef {object} LiveState
 * @property {NextTurn} next
 * @property {"editing" | "thinking"} phase
 * @property {boolean} waiting for a person
 * @property {string[]} images files of the next turn, once they exist
 * @property {string | null} preview until then, the address of its preview
 */

/**
 * @typedef {object} View
 * @property {Trajectory} record
 * @property {Turn[]} turns
 * @property {(file: string) => string} address of an image of the run
 * @property {LiveState | null} live null: it is not running
 * @property {NextTurn | null} pending the turn to show after those that have steps
 */

/**
 * @param {Trajectory} record
 * @param {(file: string) => string} address
 * @param {LiveState | null} live
 * @returns {View}
 */
export function viewOf(record, address, live = null) {
  const turns = turnsOf(record);
  const pending = live && live.next.turn > (turns.at(-1)?.number ?? 0) ? live.next : null;
  return { record, turns, address, live, pending };
}

/** The index of the step to show first: the best, else the last, −1 if there is none. @param {View} view */
export const firstChoice = ({ record, turns }) => record.best ?? turns.at(-1)?.lead ?? -1;

/** The state of a run: how it ended, after how many turns, why, and which models made it. @param {View} view */
export function summarize({ record, turns, live }) {
  const state = live ? element("span", { class: "rt-end", "data-kind": "live" }, "Running") : endBadge(record);
  const models = [...new Set([record.options?.editor, record.options?.thinker])].filter(Boolean).join(" + ");
  const message = live ? "" : (troubleOf(record) || record.message).replace(/\.$/, "");
  return [state, ` ${[plural(turns.length, "turn"), message, models].filter(Boolean).join(" · ")}`];
}

/** @param {Trajectory} record */
function endBadge(record) {
  const label = endLabel(record);
  if (!record.stopped) return element("span", { class: "rt-end" }, label);
  const good = record.stopped === "accepted" || record.chosen !== null;
  const kind = record.stopped === "failed" ? "failed" : good ? "good" : "plain";
  return element("span", { class: "rt-end", "data-kind": kind, title: record.message || null }, label);
}
