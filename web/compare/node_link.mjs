/** The links from Compare Editors to its page. */

import { element } from "../viewer/dom.mjs";

/** @typedef {{key: string, name: string, best: string}} ComparisonData */

const CLASS = "RethinkCompareEditors";
const OUTPUT = "rethink_comparison";

/** @type {WeakMap<ComfyNode, HTMLElement>} */
const bars = new WeakMap();

/** Give Compare Editors its bar. @param {ComfyNode} node */
export function addComparisonLink(node) {
  if (node.comfyClass !== CLASS) return;
  const summary = element("span", { class: "rethink-summary" }, "The page appears here after a run.");
  const bar = element("div", { class: "rethink-bar" }, summary);
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => 46, getMaxHeight: () => 46 };
  const widget = node.addDOMWidget(OUTPUT, "RETHINK_COMPARISON", bar, options);
  widget.serialize = false;
  bars.set(node, bar);
}

/** @param {ComfyNode} node @param {ComfyOutputs} outputs */
export function showComparison(node, outputs) {
  /** @type {ComparisonData | undefined} */
  const data = outputs[OUTPUT]?.[0];
  const bar = bars.get(node);
  if (!data || !bar) return;
  /** @param {string} text @param {string} hash */
  const link = (text, hash) =>
    element("a", { class: "rethink-button", target: "_blank", href: addressOf(data, hash) }, text);
  const best = data.best ? `Best: ${data.best}` : "No best editor yet.";
  bar.replaceChildren(
    element("span", { class: "rethink-summary", role: "status" }, best),
    link("Look", "grid"),
    link("Vote blind", "vote"),
  );
}

/** @param {ComparisonData} data @param {string} hash the part of the page */
export function addressOf({ key }, hash) {
  const page = new URL("./page.html", import.meta.url);
  const [red, green, blue] = (getComputedStyle(document.body).color.match(/[\d.]+/g) ?? []).map(Number);
  const theme = red + green + blue > 384 ? "dark" : "light"; // of ComfyUI: a dark palette has light text
  page.search = String(new URLSearchParams({ comparison: key, theme }));
  page.hash = hash;
  return page.href;
}
