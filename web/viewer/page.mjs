/** The large view as a standalone page: what an exported HTML file runs. */

import { viewOf } from "./view.mjs";
import { Viewer } from "./viewer.mjs";

/** @param {string} id */
const textOf = (id) => document.getElementById(id)?.textContent ?? "";
const viewer = new Viewer();
document.body.append(viewer.element);
viewer.show(viewOf(JSON.parse(textOf("trajectory")), textOf));
viewer.focus();
