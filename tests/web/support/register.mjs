/** What the modules find in a browser: a page, and ComfyUI's scripts. Loaded before every test file. */

import { register } from "node:module";
import { Window } from "happy-dom";

register("./hooks.mjs", import.meta.url);

const page = new Window({ url: "http://comfyui.test/" });
const NAMES = ["document", "sessionStorage", "Element", "HTMLElement", "HTMLImageElement", "Event", "ResizeObserver"];
for (const name of NAMES) globalThis[name] = page[name];
globalThis.getComputedStyle = page.getComputedStyle.bind(page);
globalThis.addEventListener = page.addEventListener.bind(page);
