/** A comparison as a page of its own: what comparison.html runs. */

import { App } from "./app.mjs";
import { Comparison } from "./record.mjs";
import { voteServer } from "./vote_log.mjs";

/** @param {string} id */
const textOf = (id) => document.getElementById(id)?.textContent ?? "";
const comparison = new Comparison(JSON.parse(textOf("comparison")), textOf);
const app = new App(comparison, location.protocol === "file:" ? null : voteServer("votes"));
document.body.append(app.element);
app.start();
