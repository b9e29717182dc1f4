/** A comparison as a page of its own: what comparison.html runs, before its images are there. */

import { App } from "./app.mjs";
import { Comparison } from "./record.mjs";
import { voteServer } from "./vote_log.mjs";

/** @type {Map<string, ((address: string) => void)[]>} by file: who waits for it */
const waiting = new Map();

/** An image within the page, which may still be on its way; beside the page where it has none. @param {string} file @returns {Promise<string>} */
function addressOf(file) {
  const found = textOf(file);
  if (found !== null) return Promise.resolve(found);
  return new Promise((resolve) => {
    waiting.set(file, [...(waiting.get(file) ?? []), resolve]);
  });
}

/** What is known of a file by now: its text once all of that has been read. @param {string} file */
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
document.body.prepend(app.element); // behind an image that is being read, it would seem to be whole
app.start();
