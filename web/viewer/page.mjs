/** The large view as a page of its own: what an exported HTML file runs. */

import { Viewer, viewOf } from "./viewer.mjs";

const text = (id) => document.getElementById(id).textContent;
const viewer = new Viewer();
document.body.append(viewer.element);
viewer.show(viewOf(JSON.parse(text("trajectory")), text));
viewer.focus();
