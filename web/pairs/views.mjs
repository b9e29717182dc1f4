/** The views of pairs on their nodes: the sheet of Preview Pairs, the plots of Filter Edit Pairs. */

import { passWheelOn } from "../canvas_wheel.mjs";
import { Plots } from "./plots.mjs";
import { Sheet } from "./sheet.mjs";

/**
 * @typedef {object} PairView
 * @property {HTMLElement} element
 * @property {(data: any) => unknown} show
 * @property {() => void} remove
 */

const MIN_WIDTH = 480; // of a node with a view, in CSS pixels

/**
 * A view of pairs on a node: its widget's type, the output that it shows, and its minimum height in CSS pixels.
 *
 * @typedef {{type: string, output: string, View: new (node: ComfyNode) => PairView, minHeight: number}} ViewKind
 */

/** @type {Record<string, ViewKind>} */
const KINDS = {
  RethinkPreviewPairs: { type: "RETHINK_PAIR_SHEET", output: "rethink_pairs", View: Sheet, minHeight: 260 },
  RethinkFilterEditPairs: { type: "RETHINK_PAIR_PLOTS", output: "rethink_filter", View: Plots, minHeight: 300 },
};

/** @type {WeakMap<ComfyNode, PairView>} */
const views = new WeakMap();

/** Give a node its view, if it has one. @param {ComfyNode} node */
export function addPairView(node) {
  const kind = KINDS[node.comfyClass ?? ""];
  if (!kind) return;
  const view = new kind.View(node);
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => kind.minHeight };
  const widget = node.addDOMWidget(kind.output, kind.type, view.element, options);
  widget.serialize = false;
  views.set(node, view);
  passWheelOn(view.element);
  const { onRemoved } = node;
  node.onRemoved = function () {
    view.remove();
    onRemoved?.call(this);
  };
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, MIN_WIDTH), Math.max(height, node.size[1])]);
}

/** @param {ComfyNode} node @param {ComfyOutputs} outputs */
export function showPairs(node, outputs) {
  const data = outputs[KINDS[node.comfyClass ?? ""]?.output]?.[0];
  if (data) views.get(node)?.show(data);
}
