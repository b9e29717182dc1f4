/** The page for accepting and rejecting pairs from the keyboard. Every verdict is saved immediately, with the pairs. */

import { element } from "../viewer/dom.mjs";
import { PairsApi } from "./api.mjs";
import { describePair, describeVerdict } from "./review_text.mjs";

/** @typedef {import("./api.mjs").Pair} Pair */

const PAGE_SIZE = 60; // pairs in a request
const LOOKAHEAD = 8; // request the next pairs when this close to the last one loaded
const WINDOW_SIDE = 1020; // longest side of an image that is shown in the window
const REFERENCE_SIDE = 320; // longest side of a reference
const REAL_SIDE = 4096; // longest side of one that is shown pixel for pixel

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));
/** @param {string} id @returns {HTMLButtonElement} */
const button = (id) => byId(id);
/** @param {string} id @returns {HTMLImageElement} */
const image = (id) => byId(id);
/** @type {HTMLSelectElement} */
const filter = byId("show");

const query = new URLSearchParams(location.search);
// The API is on the same server as the page: nothing in its URL can redirect requests elsewhere.
const root = location.pathname.match(/^(.*?)\/extensions\//)?.[1] ?? "";
const api = new PairsApi(`${root}/api`, query.get("pairs") ?? "");

document.documentElement.dataset.theme =
  query.get("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
byId("name").textContent = query.get("name") ?? "";

/** @type {Pair[]} the loaded pairs */
let pairs = [];
let place = 0;
let complete = false; // whether all have been loaded
let counts = { all: 0, open: 0, accepted: 0, rejected: 0 };
/** @type {Promise<void> | null} */
let loading = null;
let saving = false; // whether a verdict is being sent
/** @type {Pair[]} the pairs judged on this page, the newest last */
const history = [];
let browsing = false; // whether the person has moved to another pair since

/** Load the next pairs; concurrent calls share one request. */
async function load() {
  const request = (loading ??= loadPage(pairs));
  try {
    await request;
  } finally {
    if (loading === request) loading = null;
  }
}

/** @param {Pair[]} list that the pairs go into */
async function loadPage(list) {
  const answer = await api.list({ show: filter.value, count: PAGE_SIZE, after: list.at(-1)?.id ?? "" });
  if (list !== pairs) return; // other pairs have been chosen meanwhile
  counts = answer.counts;
  complete = answer.pairs.length < PAGE_SIZE;
  pairs.push(...answer.pairs);
  byId("strip").append(...answer.pairs.map(thumbButton));
}

async function start() {
  pairs = [];
  place = 0;
  complete = false;
  loading = null;
  byId("strip").replaceChildren();
  await attempt(load);
  draw();
}

/** @param {Pair} pair */
function thumbButton(pair) {
  const onclick = () => browse(pairs.indexOf(pair) - place);
  return element(
    "button",
    { type: "button", onclick, title: pair.instruction, "aria-label": pair.instruction },
    element("img", { src: api.imageUrl(pair.input, 128), alt: "", loading: "lazy" }),
  );
}

function draw() {
  const pair = pairs.at(place);
  drawProgress();
  for (const id of ["accept", "reject", "undo", "next", "back"]) button(id).disabled = !pair;
  byId("images").hidden = !pair;
  if (!pair) {
    byId("instruction").textContent = "No pairs to show.";
    byId("facts").textContent = byId("verdict").textContent = "";
    byId("references").replaceChildren();
    return;
  }
  byId("instruction").textContent = pair.instruction;
  byId("facts").textContent = [place + 1, describePair(pair)].filter(Boolean).join("  ·  ");
  showVerdict(describeVerdict(pair), pair.state === "rejected" ? "rejected" : pair.by === "person" ? "accepted" : "");
  drawImages(pair);
  byId("references").replaceChildren(...pair.references.map(referenceFigure));
  button("undo").disabled = !undoablePair();
  button("back").disabled = place === 0;
  button("next").disabled = complete && place === pairs.length - 1;
  [...byId("strip").children].forEach((thumb, index) => {
    thumb.className = `${pairs[index].state} ${pairs[index].by}`;
    thumb.toggleAttribute("aria-current", index === place);
  });
  byId("strip").children[place].scrollIntoView({ block: "nearest", inline: "center" });
  for (const near of pairs.slice(place + 1, place + 3))
    for (const path of [near.input, near.target]) new Image().src = api.imageUrl(path, WINDOW_SIDE);
}

function drawProgress() {
  const judged = counts.all - counts.open;
  const progress = byId("progress");
  progress.setAttribute("aria-valuemax", String(counts.all));
  progress.setAttribute("aria-valuenow", String(judged));
  byId("bar").style.width = `${counts.all ? (100 * judged) / counts.all : 0}%`;
  const [part, all, rejected] = [judged, counts.all, counts.rejected].map((count) => count.toLocaleString());
  byId("counts").textContent = `${part} of ${all} judged by you · ${rejected} rejected`;
}

/** @param {string} text @param {string} kind */
function showVerdict(text, kind) {
  byId("verdict").textContent = text;
  byId("verdict").className = kind;
}

/** @param {Pair} pair */
function drawImages(pair) {
  const side = document.body.classList.contains("real") ? REAL_SIDE : WINDOW_SIDE;
  const flipped = document.body.classList.contains("flipped");
  image("input").src = api.imageUrl(pair.input, side);
  image("target").src = api.imageUrl(flipped ? pair.input : pair.target, side);
  byId("side").textContent = flipped ? "Input" : "Target";
}

/** A small image of a reference. @param {string} path @param {number} index */
function referenceFigure(path, index) {
  const name = `image ${index + 2}`;
  const small = element("img", { src: api.imageUrl(path, REFERENCE_SIDE), alt: name });
  return element("figure", {}, small, element("figcaption", {}, name));
}

/** @param {number} by */
async function move(by) {
  place = Math.max(0, Math.min(pairs.length - 1, place + by));
  draw();
  if (!complete && place > pairs.length - LOOKAHEAD) {
    await attempt(load);
    draw();
  }
}

/** @param {number} by */
function browse(by) {
  browsing = true;
  return move(by);
}

/** @param {boolean | null} accepted null undoes the verdict @param {Pair | undefined} pair */
async function judge(accepted, pair = pairs.at(place)) {
  if (!pair || saving) return; // pressing a key twice must not judge a pair not seen yet
  const before = { state: pair.state, by: pair.by };
  saving = true;
  const after = await attempt(() => api.setVerdict(pair.id, accepted));
  saving = false;
  if (!after || !pairs.includes(pair)) return; // other pairs have been chosen meanwhile; the server has counted it
  Object.assign(pair, after);
  counts[before.state] -= 1;
  counts[pair.state] += 1;
  counts.open += Number(pair.by !== "person") - Number(before.by !== "person");
  if (accepted !== null) {
    history.push(pair);
    browsing = false;
  }
  if (accepted === null || (complete && place === pairs.length - 1)) draw();
  else await move(1);
}

/** The pair whose verdict can be undone: the last one judged, or the current one if the person has moved since. */
function undoablePair() {
  /** @param {Pair | undefined} pair */
  const isJudged = (pair) => pair?.by === "person";
  const last = history.findLast((pair) => pairs.includes(pair) && isJudged(pair));
  const current = isJudged(pairs[place]) ? pairs[place] : null;
  return browsing ? (current ?? last) : (last ?? current);
}

/** Undo a verdict, and show its pair. */
async function undo() {
  const pair = undoablePair();
  if (!pair || saving) return;
  place = pairs.indexOf(pair);
  await judge(null, pair);
}

/**
 * The result of a request; null after showing the error.
 *
 * @template T
 * @param {() => Promise<T>} request
 * @returns {Promise<T | null>}
 */
async function attempt(request) {
  try {
    return await request();
  } catch (error) {
    showVerdict(error instanceof Error ? error.message : String(error), "wrong");
    return null;
  }
}

/** @param {boolean} on */
function flip(on) {
  const pair = pairs.at(place);
  if (document.body.classList.contains("flipped") === on || !pair) return;
  document.body.classList.toggle("flipped", on);
  drawImages(pair);
}

function toggleRealPixels() {
  document.body.classList.toggle("real");
  const pair = pairs.at(place);
  if (pair) drawImages(pair);
}

function toggleKeys() {
  byId("keys").hidden = !byId("keys").hidden;
  byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
}

/** @type {Record<string, () => unknown>} */
const COMMANDS = {
  a: () => judge(true),
  enter: () => judge(true),
  r: () => judge(false),
  backspace: () => judge(false),
  u: undo,
  arrowright: () => browse(1),
  arrowleft: () => browse(-1),
  " ": () => flip(true),
  z: toggleRealPixels,
  "?": toggleKeys,
  escape: () => byId("keys").hidden || toggleKeys(),
};

/** Whether a key is meant for the focused element. @param {KeyboardEvent} event */
function isForControl({ target, key }) {
  if (!(target instanceof Element)) return false;
  return target.matches("select") || (target.matches("button:focus-visible") && ["Enter", " "].includes(key));
}

document.addEventListener("keydown", (event) => {
  const command = COMMANDS[event.key.toLowerCase()];
  if (!command || isForControl(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) command();
});
document.addEventListener("keyup", (event) => event.key === " " && flip(false));
button("accept").onclick = () => judge(true);
button("reject").onclick = () => judge(false);
button("undo").onclick = undo;
button("next").onclick = () => browse(1);
button("back").onclick = () => browse(-1);
button("help").onclick = toggleKeys;
filter.onchange = () => {
  filter.blur(); // give the keys back to the pairs
  start();
};
start();
