/**
 * On the classic canvas, the elements of a node lie over it and receive the wheel events. Events that they do not use are
 * passed to the canvas, as ComfyUI's own text fields do; otherwise a pinch would zoom the whole page. Nodes 2.0 does this
 * by itself.
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
