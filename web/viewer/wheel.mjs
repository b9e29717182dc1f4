/**
 * The wheel over scrollable elements of a node. Nodes 2.0 captures it for the canvas, unless the element under the pointer
 * has the focus and asks for the wheel; an element without the focus therefore has to get the event even earlier.
 */

/** @type {WeakMap<Element, (event: WheelEvent) => void>} */
const handlers = new WeakMap();

/**
 * Give `handle` the wheel over `target` first; the canvas does not see events that it stops.
 *
 * @param {HTMLElement} target
 * @param {(event: WheelEvent) => void} handle
 */
export function captureWheel(target, handle) {
  target.dataset.captureWheel = "true"; // while it has the focus
  handlers.set(target, handle);
}

/** Let the wheel scroll `target`, if there is anything to scroll. @param {HTMLElement} target */
export function captureScroll(target) {
  captureWheel(target, (event) => {
    if (!isZoom(event) && target.scrollHeight > target.clientHeight) event.stopPropagation();
  });
}

/** Whether the wheel is meant for the canvas wherever the pointer is: a pinch, or Ctrl or ⌘ held. @param {WheelEvent} event */
export const isZoom = (event) => event.ctrlKey || event.metaKey;

addEventListener(
  "wheel",
  (event) => {
    const target = event.target instanceof Element && event.target.closest("[data-capture-wheel]");
    if (target) handlers.get(target)?.(event);
  },
  { capture: true, passive: false },
);
