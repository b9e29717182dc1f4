/**
 * The text shown on a node after it has run: a report, scores, a warning. It stays until the next run.
 */

import { passWheelOn } from "./canvas_wheel.mjs";
import { app } from "./comfyui.mjs";
import { element } from "./viewer/dom.mjs";
import { captureScroll } from "./viewer/wheel.mjs";

const MAX_LINES = 8; // visible without scrolling
const [LINE_HEIGHT, PADDING] = [17, 34]; // CSS pixels: of a line, and around all lines
const LETTERS_PER_LINE = 52;
const ROW = /\S {2,}\S|^ {2,}\S/; // of a table: columns are separated by spaces
const PROGRESS_WIDGET = "$$node-text-preview"; // ComfyUI's own progress line

/** @type {WeakMap<ComfyNode, HTMLElement>} */
const boxes = new WeakMap();
/** What is in a box. @type {WeakMap<HTMLElement, string>} */
const texts = new WeakMap();

/** @param {ComfyNode} node @param {ComfyOutputs} outputs */
export function showText(node, { rethink_text: parts }) {
  if (!parts) return;
  const text = parts.filter(Boolean).join("\n\n");
  removeProgress(node);
  if (!text && !boxes.has(node)) return;
  const box = boxes.get(node) ?? addBox(node);
  box.replaceChildren(...blocksOf(text).map(([kind, block]) => element("div", { class: kind }, block)));
  texts.set(box, text);
  box.hidden = !text;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0]), Math.max(height, node.size[1])]);
  app.canvas?.setDirty(true, true);
}

/** @param {ComfyNode} node */
function addBox(node) {
  const box = element("div", { class: "rethink-text", role: "status", tabindex: "0" });
  captureScroll(box);
  passWheelOn(box);
  boxes.set(node, box);
  const height = () => (box.hidden ? 0 : countLines(texts.get(box) ?? "") * LINE_HEIGHT + PADDING);
  const options = { serialize: false, hideOnZoom: false, getMinHeight: height };
  const widget = node.addDOMWidget("rethink_text", "RETHINK_TEXT", box, options);
  // A widget of fixed size: it leaves the free space on the node to other widgets.
  Object.assign(widget, { serialize: false, computeSize: () => [0, height()], computeLayoutSize: undefined });
  return box;
}

/**
 * Prose, which wraps, and tables, which do not: [class, text] each.
 *
 * @param {string} text @returns {[string, string][]}
 */
export function blocksOf(text) {
  /** @type {[string, string][]} */
  const blocks = [];
  for (const line of text ? text.split("\n") : []) {
    const kind = ROW.test(line) ? "rethink-table" : "rethink-prose";
    const last = blocks.at(-1);
    if (last?.[0] === kind) last[1] += `\n${line}`;
    else blocks.push([kind, line]);
  }
  return blocks;
}

/** How many visible lines of a box a text fills. @param {string} text */
export function countLines(text) {
  const lines = text
    .split("\n")
    .map((line) => (ROW.test(line) ? 1 : Math.ceil(Math.max(1, line.length) / LETTERS_PER_LINE)));
  return Math.min(
    MAX_LINES,
    lines.reduce((sum, count) => sum + count, 0),
  );
}

/** @param {ComfyNode} node */
function removeProgress(node) {
  const index = node.widgets?.findIndex(({ name }) => name === PROGRESS_WIDGET) ?? -1;
  if (index < 0) return;
  node.widgets?.[index].onRemove?.();
  node.widgets?.splice(index, 1);
}
