/** The page of a comparison in ComfyUI: images and votes come from the folder that a node has published. */

import { element } from "../viewer/dom.mjs";
import { App } from "./app.mjs";
import { Comparison } from "./record.mjs";
import { voteServer } from "./vote_log.mjs";

const query = new URLSearchParams(location.search);
// The API is on the same server as the page: nothing in its URL can redirect requests elsewhere.
const root = location.pathname.match(/^(.*?)\/extensions\//)?.[1] ?? "";
const key = query.get("comparison") ?? "";
const address = `${root}/api/rethink/comparisons/${/^\w+$/.test(key) ? key : "unknown"}`;
const theme = query.get("theme");
if (theme === "dark" || theme === "light") document.documentElement.style.colorScheme = theme;

async function start() {
  const reply = await fetch(address, { cache: "no-store" });
  const record = await reply.json();
  if (!reply.ok) throw new Error(record.error ?? `The server responded with status ${reply.status}.`);
  const digests = new Map(record.edits.map((/** @type {any} */ edit) => [edit.file, edit.digest]));
  /** @param {string} file */
  const addressOf = (file) =>
    `${address}/image?${new URLSearchParams({ file, digest: digests.get(file) ?? "source" })}`;
  document.title = record.title;
  const app = new App(new Comparison(record, addressOf), voteServer(`${address}/votes`));
  document.body.append(app.element);
  await app.start();
}

start().catch((error) => {
  const text = error instanceof Error ? error.message : String(error);
  document.body.append(element("p", { class: "cp-failure", role: "alert" }, text));
});
