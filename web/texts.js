/** What a node has to say when it has run, in words on the node: a report, scores, a warning. It stays until the next run. */
import { app } from "../../scripts/app.js";
import { passWheelOn } from "./canvas_wheel.mjs";
import { onOutput } from "./outputs.mjs";
import { element } from "./viewer/dom.mjs";
import { ownScroll } from "./viewer/wheel.mjs";

const [LINE, EDGE] = [17, 34]; // pixels: of a line, and around them all
const MOST = 8; // lines that are seen without scrolling
const PROGRESS = "$$node-text-preview"; // ComfyUI's own line, which told how the run went on

const texts = new WeakMap(); // node → the element with its words

onOutput((node, { rethink_text: parts }) => {
  if (!parts) return;
  const text = parts.filter(Boolean).join("\n\n");
  dropProgress(node);
  if (!text && !texts.has(node)) return;
  const shown = texts.get(node) ?? addText(node);
  shown.textContent = text;
  shown.hidden = !text;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0]), Math.max(height, node.size[1])]);
  app.canvas?.setDirty(true, true);
});

function addText(node) {
  const shown = element("div", { class: "rethink-text", role: "status", tabindex: "0" });
  ownScroll(shown);
  passWheelOn(shown);
  texts.set(node, shown);
  const lines = () => Math.min(MOST, shown.textContent.split("\n").reduce((sum, line) => sum + Math.ceil((line.length || 1) / 52), 0));
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => (shown.hidden ? 0 : lines() * LINE + EDGE) };
  const widget = node.addDOMWidget("rethink_text", "RETHINK_TEXT", shown, options);
  widget.serialize = false;
  return shown;
}

function dropProgress(node) {
  const index = node.widgets?.findIndex(({ name }) => name === PROGRESS) ?? -1;
  if (index < 0) return;
  node.widgets[index].onRemove?.();
  node.widgets.splice(index, 1);
}
