/** A comparison as stored in the results folder. */

/** @typedef {{mean: number, low: number | null, high: number | null, items: number, clusters: number}} Interval */
/** @typedef {{id: string, title: string, help: string, digits: number, unit: string}} Measure */

/**
 * An editor in the comparison. key: identifies its edits and votes; record: how its edits are made.
 *
 * @typedef {object} Variant
 * @property {string} key
 * @property {string} name
 * @property {Record<string, any>} record
 * @property {number} edits
 * @property {number} unchanged how many of them changed nothing
 * @property {number | null} seconds the median of an edit
 * @property {number | null} memory peak, in bytes
 * @property {string} [settings] the settings of its edits, in words
 * @property {Record<string, Interval>} means by measure
 */

/** size: width and height of the source. @typedef {{id: string, instruction: string, name: string, source: string, file: string, size: number[]}} Task */

/**
 * @typedef {object} Edit
 * @property {string} task
 * @property {string} variant
 * @property {string} file
 * @property {string} digest of the file: equal for equal pixels
 * @property {number} seconds
 * @property {number | null} memory
 * @property {[number, number]} size width and height
 * @property {boolean} unchanged
 * @property {Record<string, number>} scores
 */

/** @typedef {Interval & {measure: string, variant: string, against: string, verdict: "better" | "worse" | "cannot tell"}} Difference */

/**
 * @typedef {object} ComparisonRecord
 * @property {string} id
 * @property {string} title
 * @property {number} [side] the longest side of the images in the page, in pixels
 * @property {Measure[]} measures
 * @property {Variant[]} variants
 * @property {Task[]} tasks
 * @property {Edit[]} edits
 * @property {{task: string, variant: string, why: string}[]} failed
 * @property {Difference[]} differences
 * @property {string[]} sentences
 */

export class Comparison {
  #edits = new Map();
  #failed = new Map();
  #tasks;
  #variants;

  /** @param {ComparisonRecord} record @param {(file: string) => string | Promise<string>} addressOf an image of the folder */
  constructor(record, addressOf) {
    this.record = record;
    this.addressOf = addressOf;
    for (const edit of record.edits) this.#edits.set(`${edit.task} ${edit.variant}`, edit);
    for (const each of record.failed) this.#failed.set(`${each.task} ${each.variant}`, each.why);
    this.#tasks = new Map(record.tasks.map((task) => [task.id, task]));
    this.#variants = new Map(record.variants.map((variant) => [variant.key, variant]));
  }

  get tasks() {
    return this.record.tasks;
  }

  get variants() {
    return this.record.variants;
  }

  get measures() {
    return this.record.measures;
  }

  /** @param {string} id @returns {Task | undefined} */
  task(id) {
    return this.#tasks.get(id);
  }

  /** @param {string} key */
  nameOf(key) {
    return this.#variants.get(key)?.name ?? key;
  }

  /** @param {string} task @param {string} variant @returns {Edit | undefined} */
  edit(task, variant) {
    return this.#edits.get(`${task} ${variant}`);
  }

  /** Why there is no such edit. @param {string} task @param {string} variant @returns {string} */
  whyMissing(task, variant) {
    return this.#failed.get(`${task} ${variant}`) ?? "There is no edit.";
  }

  /** @param {string} measure @param {string} variant @param {string} against */
  difference(measure, variant, against) {
    return this.record.differences.find(
      (each) => each.measure === measure && each.variant === variant && each.against === against,
    );
  }
}

/** A score in words. @param {number | undefined} value @param {Measure} measure */
export function formatScore(value, measure) {
  return value === undefined ? "not measured" : `${formatFixed(value, measure.digits)}${measure.unit}`;
}

/** @param {number | null} seconds */
export const formatSeconds = (seconds) =>
  seconds === null ? "not measured" : `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;

/** @param {number | null} bytes */
export function formatMemory(bytes) {
  if (bytes === null) return "not measured";
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return `${Math.max(1, Math.round(bytes / 2 ** 20))} MiB`;
}

/** Without a minus sign for values that round to zero. @param {number} value @param {number} digits */
export const formatFixed = (value, digits) => value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");

/** @param {number} count @param {string} noun */
export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
