/**
 * On the classic canvas the elements of a node lie over it and the wheel ends at them. What they have no use for goes
 * on to the canvas, as from ComfyUI's own text fields; else a pinch would zoom the whole page. Nodes 2.0 does that by
 * itself.
 */

import { app } from "./comfyui.mjs";

/** @param {HTMLElement} target */
export function passWheelOn(target) {
  /** @param {WheelEvent} event */
  const pass = (event) => {
    if (LiteGraph.vueNodesMode) return;
    event.preventDefault();
    app.canvas.processMouseWheel(event);
  };
  target.addEventListener("wheel", pass, { passive: false });
}
