/**
 * The wheel over what scrolls on a node. Nodes 2.0 takes it on its way down, for the canvas, unless what lies under the
 * pointer has the focus and says so; so whoever only points at something is asked before that.
 */

const handlers = new WeakMap(); // element → (event) => void

/** `handle` gets the wheel over `target` before anybody else; what it stops the canvas does not see. */
export function ownWheel(target, handle) {
  target.dataset.captureWheel = "true"; // while it has the focus
  handlers.set(target, handle);
}

/** The wheel scrolls `target` down and up, as long as there is anything to scroll. */
export function ownScroll(target) {
  ownWheel(target, (event) => {
    if (!zooms(event) && target.scrollHeight > target.clientHeight) event.stopPropagation();
  });
}

/** Whether the wheel means the canvas wherever it is: a pinch, or Ctrl or ⌘ held. */
export const zooms = (event) => event.ctrlKey || event.metaKey;

addEventListener(
  "wheel",
  (event) => {
    const target = event.target.closest?.("[data-capture-wheel]");
    handlers.get(target)?.(event);
  },
  { capture: true, passive: false },
);
