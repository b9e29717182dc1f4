// What pairs show on their nodes: the sheet of Preview Pairs, the plots of Filter Edit Pairs.
import { app } from "../../scripts/app.js";
import { passWheelOn } from "./canvas_wheel.mjs";
import { onOutput } from "./outputs.mjs";
import { Plots } from "./pairs/plots.mjs";
import { Sheet } from "./pairs/sheet.mjs";

// node → its widget's type, the output that it shows, who draws it, the least height in pixels
const VIEWS = {
  RethinkPreviewPairs: { type: "RETHINK_PAIR_SHEET", output: "rethink_pairs", View: Sheet, height: 260 },
  RethinkFilterEditPairs: { type: "RETHINK_PAIR_PLOTS", output: "rethink_filter", View: Plots, height: 300 },
};

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("./pairs/pairs.css", import.meta.url).href;
document.head.append(style);

const views = new WeakMap(); // node → its view

onOutput((node, output) => {
  const shown = output[VIEWS[node.comfyClass]?.output]?.[0];
  if (shown) views.get(node)?.show(shown);
});

app.registerExtension({
  name: "Rethink.Pairs",
  nodeCreated(node) {
    const kind = VIEWS[node.comfyClass];
    if (!kind) return;
    const view = new kind.View(node);
    const widget = node.addDOMWidget(kind.output, kind.type, view.element, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => kind.height,
    });
    widget.serialize = false;
    views.set(node, view);
    passWheelOn(view.element);
    const removed = node.onRemoved;
    node.onRemoved = function () {
      view.remove();
      removed?.apply(this, arguments);
    };
    const [width, height] = node.computeSize();
    node.setSize([Math.max(width, 480), Math.max(height, node.size[1])]);
  },
});
