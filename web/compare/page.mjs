/** A comparison as a standalone page: what comparison.html runs, before its images have loaded. */

import { App } from "./app.mjs";
import { Comparison } from "./record.mjs";
import { voteServer } from "./vote_log.mjs";

/** @type {Map<string, ((address: string) => void)[]>} by file: the callbacks waiting for it */
const waiting = new Map();

/** An image embedded in the page, which may still be loading; if the page has none, the file beside it. @param {string} file @returns {Promise<string>} */
function addressOf(file) {
  const found = textOf(file);
  if (found !== null) return Promise.resolve(found);
  return new Promise((resolve) => {
    waiting.set(file, [...(waiting.get(file) ?? []), resolve]);
  });
}

/** The text of a file once all of it has loaded; null until then. @param {string} file */
function textOf(file) {
  const held = document.getElementById(file);
  if (document.readyState === "loading" && !held?.nextElementSibling) return null;
  return held?.textContent ?? file;
}

function deliver() {
  for (const [file, tell] of waiting) {
    const found = textOf(file);
    if (found === null) continue;
    waiting.delete(file);
    for (const each of tell) each(found);
  }
}

new MutationObserver(deliver).observe(document.body, { childList: true });
document.addEventListener("DOMContentLoaded", deliver);
const comparison = new Comparison(JSON.parse(document.getElementById("comparison")?.textContent ?? ""), addressOf);
const app = new App(comparison, location.protocol === "file:" ? null : voteServer("votes"));
document.body.prepend(app.element); // appended after an image that is still loading, that image would look complete
app.start();
