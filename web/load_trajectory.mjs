/** Load Trajectory shows the run selected on it, queued or not, and lets the user choose it by image. */

import { LOAD_TRAJECTORY, showRun } from "./node_runs.mjs";
import { chooseRun, fetchRuns, runLabels } from "./run_chooser.mjs";
import { referenceOf } from "./runs.mjs";

/** @param {ComfyNode} node */
const runWidget = (node) => node.widgets?.find(({ name }) => name === "run");

/** Make a node show the run selected on it, if it is Load Trajectory. @param {ComfyNode} node */
export function followChoice(node) {
  const widget = runWidget(node);
  if (node.comfyClass !== LOAD_TRAJECTORY || !widget) return;
  const { callback } = widget;
  widget.callback = function (...values) {
    callback?.apply(this, values);
    showChoice(node, widget);
  };
  widget.options.getOptionLabel = (value) => runLabels.get(value) ?? value;
  const button = node.addWidget("button", "rethink_choose", "", () => choose(node, widget), { serialize: false });
  Object.assign(button, { label: "Choose by image", serialize: false });
  setTimeout(() => showChoice(node, widget)); // once the workflow has set its value
}

/** @param {ComfyNode} node @param {ComfyWidget} widget */
function showChoice(node, { value }) {
  if (node.graph && value) showRun(node, referenceOf(value)); // not for the preview of a node in a menu
}

/** @param {ComfyNode} node @param {ComfyWidget} widget */
async function choose(node, widget) {
  const value = await chooseRun(widget.value);
  if (!value) return;
  if (!widget.options.values?.includes(value)) widget.options.values?.unshift(value); // newer than the page
  widget.value = value;
  widget.callback?.(value);
  node.setDirtyCanvas(true);
}

/**
 * Load the labels that a workflow needs: its lists are drawn only once, with the labels known by then.
 *
 * @param {object} workflow
 */
export async function prepareLabels(workflow) {
  if (JSON.stringify(workflow).includes(LOAD_TRAJECTORY)) await fetchRuns();
}
