/** The large view as a page of its own: what an exported HTML file runs. */

import { Viewer, firstChoice, viewOf } from "./viewer.mjs";

const page = new Viewer({ onselect: (index) => history.replaceState(null, "", `#${index}`) });
const run = viewOf(
  JSON.parse(document.getElementById("trajectory").textContent),
  (file) => document.getElementById(file).textContent,
);
document.body.append(page.element);
page.show(run);
if (run.record.steps[location.hash.slice(1)] && location.hash) page.select(Number(location.hash.slice(1)));
page.focus();
