/** The large view over ComfyUI's window; there is one at a time. */

import { element } from "./viewer/dom.mjs";
import { Viewer } from "./viewer/viewer.mjs";

/** @typedef {import("./runs.mjs").Run} Run */

/** @type {{run: Run, viewer: Viewer} | null} */
let large = null;

/** Show the run of a display. @param {import("./display.mjs").Display} display */
export function openLargeView(display) {
  const { run, selected } = display;
  if (!run) return;
  const dialog = element("dialog", { class: "rt rt-dialog", "aria-label": "Trajectory" });
  const viewer = new Viewer({
    send: run.send,
    onexport: run.export,
    onclose: () => dialog.close(),
    onselect: (index) => display.select(index),
  });
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    large = null;
  });
  dialog.append(viewer.element);
  document.body.append(dialog);
  dialog.showModal();
  large = { run, viewer };
  viewer.show(run.view);
  viewer.select(selected);
  viewer.focus();
}

/** Show the new state of a run, if it is the one in view. @param {Run} run */
export function refreshLargeView(run) {
  if (large?.run.key === run.key) large.viewer.show(run.view);
}
