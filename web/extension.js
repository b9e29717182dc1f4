/** Rethink in ComfyUI's window: the hooks that ComfyUI calls, and their handlers. */

import { addStyleSheet, api, app, notify } from "./comfyui.mjs";
import { addComparisonLink, showComparison } from "./compare/node_link.mjs";
import { askAboutHosts } from "./hosts.mjs";
import { followChoice, prepareLabels } from "./load_trajectory.mjs";
import { addDisplay, restoreRuns, showExecuted, showOutputs } from "./node_runs.mjs";
import { showText } from "./node_text.mjs";
import { deliverHistory, deliverOutputs, onOutput, watchOutputs } from "./outputs.mjs";
import { onGraphLoaded, separateReopened } from "./ownership.mjs";
import { addPairView, showPairs } from "./pairs/views.mjs";
import { fetchRuns } from "./run_chooser.mjs";
import { findLiveRuns, watchRuns } from "./run_events.mjs";
import { addTrainingView, restoreTrainings, showTraining, watchTrainings } from "./training/monitor.mjs";
import { WRAP_TITLE, wrapInThinkLoop } from "./wrap.mjs";

const WRAP = "Rethink.WrapInThinkLoop";

for (const sheet of ["./viewer/viewer.css", "./pairs/pairs.css", "./training/training.css", "./node_text.css"])
  addStyleSheet(new URL(sheet, import.meta.url));
onOutput(showText);
onOutput(showPairs);
onOutput(showComparison);
onOutput(showTraining);

app.registerExtension({
  name: "Rethink",
  commands: [{ id: WRAP, label: WRAP_TITLE, icon: "pi pi-sync", function: () => wrapInThinkLoop(app, notify) }],
  menuCommands: [{ path: ["Edit"], commands: [WRAP] }],
  getSelectionToolboxCommands: (item) => (item.outputs?.some(({ type }) => type === "IMAGE") ? [WRAP] : []),
  setup() {
    askAboutHosts(api, notify);
    watchRuns();
    watchTrainings();
    api.addEventListener("executed", ({ detail }) => showExecuted(detail));
    onGraphLoaded(() => {
      restoreRuns();
      findLiveRuns();
      restoreTrainings();
    });
    fetchRuns(); // for nodes that are added manually
  },
  nodeCreated(node) {
    followChoice(node);
    addDisplay(node);
    addPairView(node);
    addComparisonLink(node);
    addTrainingView(node);
    watchOutputs(node);
  },
  beforeConfigureGraph(workflow) {
    separateReopened(workflow);
    return prepareLabels(workflow);
  },
  afterConfigureGraph: deliverHistory,
  refreshComboInNodes: fetchRuns,
  onNodeOutputsUpdated(outputs) {
    showOutputs(outputs);
    deliverOutputs(outputs);
  },
});
