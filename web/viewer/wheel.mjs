/**
 * The wheel over what scrolls on a node. Nodes 2.0 takes it on its way down, for the canvas, unless what lies under the
 * pointer has the focus and asks for the wheel; so an element that is only pointed at is served before that.
 */

/** @type {WeakMap<Element, (event: WheelEvent) => void>} */
const handlers = new WeakMap();

/**
 * Give `handle` the wheel over `target` before anybody else; what it stops, the canvas does not see.
 *
 * @param {HTMLElement} target
 * @param {(event: WheelEvent) => void} handle
 */
export function captureWheel(target, handle) {
  target.dataset.captureWheel = "true"; // while it has the focus
  handlers.set(target, handle);
}

/** Have the wheel scroll `target`, as long as there is anything to scroll. @param {HTMLElement} target */
export function captureScroll(target) {
  captureWheel(target, (event) => {
    if (!isZoom(event) && target.scrollHeight > target.clientHeight) event.stopPropagation();
  });
}

/** Whether the wheel means the canvas wherever it is: a pinch, or Ctrl or ⌘ held. @param {WheelEvent} event */
export const isZoom = (event) => event.ctrlKey || event.metaKey;

addEventListener(
  "wheel",
  (event) => {
    const target = event.target instanceof Element && event.target.closest("[data-capture-wheel]");
    if (target) handlers.get(target)?.(event);
  },
  { capture: true, passive: false },
);
