/** The sheet on Preview Pairs: some pairs with their instructions, and the link to the review page. */

import { api } from "../comfyui.mjs";
import { element } from "../viewer/dom.mjs";
import { plural } from "../viewer/trajectory.mjs";
import { captureScroll } from "../viewer/wheel.mjs";
import { PairsApi } from "./api.mjs";

/** @typedef {import("./api.mjs").Pair} Pair */
/**
 * @typedef {{key: string, sheet: string, name: string, count: number}} SheetData sheet: the key of the pairs that it
 *   shows
 */

const THUMB_SIDE = 320; // pixels
const MAX_CARDS = 60;

export class Sheet {
  /** @type {SheetData | null} */
  #data = null;
  #summary = element("span", { class: "rethink-summary", role: "status" });
  #link = element("a", { class: "rethink-button", target: "_blank", hidden: true }, "Review");
  #cards = element(
    "div",
    { class: "rethink-cards", tabindex: "0", role: "list", "aria-label": "Pairs" },
    element("p", { class: "rethink-empty" }, "The pairs appear here after the workflow has run."),
  );
  element = element(
    "div",
    { class: "rethink-pairs" },
    element("div", { class: "rethink-bar" }, this.#summary, this.#link),
    this.#cards,
  );

  constructor() {
    captureScroll(this.#cards);
    document.addEventListener("visibilitychange", this.#reload);
  }

  /** @param {SheetData} data */
  show(data) {
    this.#data = data;
    const page = new URL("./review.html", import.meta.url);
    const theme = isDark(getComputedStyle(document.body).color) ? "dark" : "light";
    page.search = String(new URLSearchParams({ pairs: data.key, name: data.name, theme }));
    this.#link.href = page.href;
    this.#link.hidden = false;
    return this.#load(data);
  }

  /** Reload the verdicts when the user returns from the review page. */
  #reload = () => {
    if (this.#data && document.visibilityState === "visible") this.#load(this.#data);
  };

  /** @param {SheetData} data */
  async #load(data) {
    const all = new PairsApi(api.apiURL(""), data.key);
    const few = new PairsApi(api.apiURL(""), data.sheet);
    try {
      const [{ counts }, { pairs }] = await Promise.all([all.list({ count: 1 }), few.list({ count: MAX_CARDS })]);
      if (data !== this.#data) return; // the node has run again since
      const rejected = counts.rejected ? ` · ${counts.rejected.toLocaleString()} rejected` : "";
      this.#summary.textContent = `${plural(counts.all, "pair")}${rejected}`;
      this.#cards.replaceChildren(...pairs.map((pair) => pairCard(pair, few)));
    } catch (error) {
      this.#summary.textContent = error instanceof Error ? error.message : String(error);
      this.#link.hidden = true;
    }
  }

  remove() {
    document.removeEventListener("visibilitychange", this.#reload);
  }
}

/** Whether a palette is dark, whatever its name: its text is light then. @param {string} textColor as CSS has it */
export function isDark(textColor) {
  const [red, green, blue] = (textColor.match(/[\d.]+/g) ?? []).map(Number);
  return red + green + blue > 384;
}

/** @param {Pair} pair @param {PairsApi} pairsApi */
function pairCard({ instruction, input, references, target, state, by, why }, pairsApi) {
  const rejected = state === "rejected";
  const mark = rejected ? "✕ rejected" : by === "person" ? "✓ accepted" : "";
  /** @param {string} path @param {string} label */
  const image = (path, label) =>
    element("img", {
      src: pairsApi.imageUrl(path, THUMB_SIDE),
      alt: label,
      title: label,
      loading: "lazy",
      decoding: "async",
      draggable: "false",
    });
  const small = references.map((path, index) => image(path, `image ${index + 2}`));
  const further = small.length ? element("div", { class: "rethink-references" }, ...small) : null;
  return element(
    "figure",
    {
      class: `rethink-card${rejected ? " rethink-rejected" : ""}`,
      role: "listitem",
      title: [instruction, ...why].join("\n"),
    },
    element(
      "div",
      { class: "rethink-two" },
      image(input, "input"),
      element("span", { class: "rethink-arrow", "aria-hidden": "true" }, "→"),
      image(target, "target"),
      further,
    ),
    element("figcaption", {}, instruction),
    mark
      ? element("span", { class: `rethink-mark${rejected ? " rethink-bad" : ""}` }, mark, why[0] && `: ${why[0]}`)
      : null,
  );
}
