/** How imports of ComfyUI's scripts are resolved. */

const STAND_IN = new URL("./comfyui.mjs", import.meta.url).href;

export function resolve(specifier, context, nextResolve) {
  return nextResolve(/\/scripts\/(app|api)\.js$/.test(specifier) ? STAND_IN : specifier, context);
}
