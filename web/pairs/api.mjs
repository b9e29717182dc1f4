/** Requests to the server about pairs that a node has published. */

/**
 * @typedef {object} PairState
 * @property {"accepted" | "rejected"} state
 * @property {"person" | "filter" | ""} by
 * @property {string[]} why it was rejected
 */

/**
 * @typedef {object} PairFields
 * @property {string} id
 * @property {string} instruction
 * @property {string} input path of the image, in the pairs' folder
 * @property {string[]} references paths of further images that the instruction mentions
 * @property {string} target path of the image
 * @property {string} operation
 * @property {string} input_caption
 * @property {string} target_caption
 * @property {Record<string, number>} scores
 */

/** @typedef {PairFields & PairState} Pair */

/**
 * How many pairs there are; open: not judged by a person.
 *
 * @typedef {{all: number, open: number, accepted: number, rejected: number}} PairCounts
 */

/**
 * How many pairs thresholds would keep.
 *
 * @typedef {{accepted: number, rejected: number, why: [string, number][]}} FilterPreview
 */

/**
 * At most `count` pairs after the id `after`, of the kind that `show` names.
 *
 * @typedef {{count: number, after?: string, show?: string}} ListOptions
 */

export class PairsApi {
  /** @param {string} base the address of ComfyUI's API @param {string} key the pairs' */
  constructor(base, key) {
    this.address = `${base}/rethink/pairs/${/^\w+$/.test(key) ? key : "unknown"}`; // so that the path cannot lead anywhere else
  }

  /**
   * @param {ListOptions} options
   * @returns {Promise<{counts: PairCounts, pairs: Pair[]}>}
   */
  list({ count, ...options }) {
    return this.#request(`?${new URLSearchParams({ ...options, count: String(count) })}`);
  }

  /** The address of an image, at most `side` pixels long. @param {string} path @param {number} side */
  imageUrl(path, side) {
    return `${this.address}/picture?${new URLSearchParams({ path, side: String(side) })}`;
  }

  /**
   * @param {string} id of a pair
   * @param {boolean | null} accepted null undoes the verdict
   * @returns {Promise<PairState>}
   */
  setVerdict(id, accepted) {
    return this.#request("/verdict", { id, accepted });
  }

  /**
   * @param {Record<string, number>} thresholds
   * @returns {Promise<FilterPreview>}
   */
  previewThresholds(thresholds) {
    return this.#request("/tried", thresholds);
  }

  /**
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async #request(path, body) {
    const headers = { "Content-Type": "application/json" };
    const options = body && { method: "POST", body: JSON.stringify(body), headers };
    const reply = await fetch(this.address + path, { cache: "no-store", ...options });
    const answer = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Error(answer.error ?? `The server responded with status ${reply.status}.`);
    return answer;
  }
}
