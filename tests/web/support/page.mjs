/** What modules that touch the page find in a browser. A test imports it before them. */

import { Window } from "happy-dom";

const page = new Window({ url: "http://comfyui.test/" });
const NAMES = ["document", "sessionStorage", "Element", "HTMLElement", "HTMLImageElement", "Event", "ResizeObserver"];
for (const name of NAMES) globalThis[name] = page[name];
globalThis.getComputedStyle = page.getComputedStyle.bind(page);
globalThis.addEventListener = page.addEventListener.bind(page);
