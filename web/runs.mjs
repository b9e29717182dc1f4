/** Runs of the thinking loop as this page knows them. */

import { api, post, viewUrl } from "./comfyui.mjs";
import { viewOf } from "./viewer/view.mjs";

/** @typedef {import("./comfyui.mjs").FileReference} FileReference */
/** @typedef {import("./viewer/trajectory.mjs").Trajectory} Trajectory */
/** @typedef {import("./viewer/view.mjs").LiveState} LiveState */

const RECORD_FILE = "trajectory.json"; // of a run, in its folder
const GRAPH_EDITOR = "workflow"; // a record's name for the editor of a loop around nodes

/** The running runs, by key. @type {Map<string, Run>} */
export const liveRuns = new Map();

export class Run {
  /** @type {LiveState | null} null: it is not running */
  live = null;
  prompt = ""; // the id of the prompt that it runs in
  #blobUrl = "";

  /** @param {FileReference} reference of its record @param {Trajectory} record */
  constructor(reference, record) {
    this.reference = reference;
    this.record = record;
  }

  get key() {
    return keyOf(this.reference);
  }

  get view() {
    return viewOf(this.record, this.address, this.live);
  }

  /** Whether its edits are made by nodes inside the loop, which send their own previews. */
  get isEditedByGraph() {
    return this.record.options.editor === GRAPH_EDITOR;
  }

  /** The address of an image of the run. @param {string} file */
  address = (file) => viewUrl({ ...this.reference, filename: file });

  /** The address of the preview of the edit in progress. @param {number} number of the preview */
  previewUrl = (number) => {
    const query = new URLSearchParams({ run: this.reference.subfolder, number: String(number) });
    return api.apiURL(`/rethink/preview?${query}`);
  };

  /** Show this image while the turn is being made. @param {Blob} blob */
  showPreview(blob) {
    URL.revokeObjectURL(this.#blobUrl);
    this.#blobUrl = URL.createObjectURL(blob);
    if (this.live) this.live.preview = this.#blobUrl;
  }

  /** Reload the record, unless it is gone. */
  async reload() {
    this.record = (await fetchRecord(this.reference)) ?? this.record;
  }

  /** @param {import("./viewer/steering.mjs").Order} order */
  send = (order) => post("/rethink/order", { run: this.reference.subfolder, ...order });

  /** Download the run as one HTML file. */
  export = async () => {
    /** @type {FileReference | null} */
    const page = await post("/rethink/export", { run: this.reference });
    if (page) Object.assign(document.createElement("a"), { href: viewUrl(page), download: page.filename }).click();
  };
}

/** @param {FileReference} reference */
const keyOf = ({ type, subfolder }) => `${type} ${subfolder}`;

/** The running run of a record, if there is one. @param {FileReference} reference */
export const liveRun = (reference) => liveRuns.get(keyOf(reference));

/**
 * The run of a record, reloaded; null if the record is gone.
 *
 * @param {FileReference} reference
 */
export async function readRun(reference) {
  const record = await fetchRecord(reference);
  if (!record) return null;
  const run = liveRun(reference);
  if (!run) return new Run(reference, record);
  run.record = record;
  return run;
}

/**
 * @param {FileReference} reference
 * @returns {Promise<Trajectory | null>}
 */
async function fetchRecord(reference) {
  const reply = await fetch(viewUrl(reference), { cache: "no-cache" });
  return reply.ok ? reply.json() : null;
}

/**
 * The file reference of a run's record.
 *
 * @param {string} name of the run in outputs and on Load Trajectory: "output/rethink/thinking_00001_"
 * @returns {FileReference}
 */
export function referenceOf(name) {
  const [type, ...folders] = name.split("/");
  return { filename: RECORD_FILE, subfolder: folders.join("/"), type };
}
