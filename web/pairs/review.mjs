// The page on which a person accepts and rejects pairs by keyboard. Every verdict is kept at once, with the pairs.
import { element, Pairs } from "./element.mjs";

const PAGE = 60; // pairs that are asked for at a time
const AHEAD = 8; // so near to the last known pair the next ones are asked for
const [NEAR, REAL] = [1020, 4096]; // longest sides of a picture in the window, and of its real pixels

const asked = new URLSearchParams(location.search);
const at = (id) => document.getElementById(id);
// The API lies where the page comes from: nothing in its address can have it ask anywhere else.
const source = new Pairs(`${location.pathname.match(/^(.*?)\/extensions\//)?.[1] ?? ""}/api`, asked.get("pairs") ?? "");

document.documentElement.dataset.theme =
  asked.get("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
at("name").textContent = asked.get("name") ?? "";

let pairs = []; // those known so far
let place = 0;
let whole = false; // whether all are known
let counts = { all: 0, open: 0, accepted: 0, rejected: 0 };
let loading = null;
let judging = false; // whether a verdict is on its way
const given = []; // the pairs that were judged on this page, the last one last
let looking = false; // whether the person has gone to another pair since

/** The next page; who asks while it is on its way waits for the same. */
async function load() {
  const asked = (loading ??= nextPage(pairs));
  try {
    await asked;
  } finally {
    if (loading === asked) loading = null;
  }
}

async function nextPage(list) {
  const found = await source.list({ show: at("show").value, count: PAGE, after: list.at(-1)?.id ?? "" });
  if (list !== pairs) return; // others have been chosen meanwhile
  counts = found.counts;
  whole = found.pairs.length < PAGE;
  pairs.push(...found.pairs);
  at("strip").append(...found.pairs.map((pair) => thumb(pair)));
}

async function begin() {
  pairs = [];
  place = 0;
  whole = false;
  loading = null;
  at("strip").replaceChildren();
  await safely(load);
  draw();
}

function thumb(pair) {
  const go = () => look(pairs.indexOf(pair) - place);
  return element("button", { type: "button", onclick: go, title: pair.instruction, "aria-label": pair.instruction },
    element("img", { src: source.picture(pair.input, 128), alt: "", loading: "lazy" }));
}

function draw() {
  const pair = pairs[place];
  const judged = counts.all - counts.open;
  at("progress").setAttribute("aria-valuemax", counts.all);
  at("progress").setAttribute("aria-valuenow", judged);
  at("progress").firstElementChild.style.width = `${counts.all ? (100 * judged) / counts.all : 0}%`;
  at("counts").textContent = `${judged.toLocaleString()} of ${counts.all.toLocaleString()} judged by you · ${counts.rejected.toLocaleString()} rejected`;
  for (const id of ["accept", "reject", "undo", "next", "back"]) at(id).disabled = !pair;
  at("pictures").hidden = !pair;
  if (!pair) {
    at("instruction").textContent = "There is no such pair.";
    at("facts").textContent = at("verdict").textContent = "";
    return;
  }
  at("instruction").textContent = pair.instruction;
  at("facts").textContent = facts(pair).join("  ·  ");
  say(verdictOf(pair), pair.state === "rejected" ? "rejected" : pair.by === "person" ? "accepted" : "");
  pictures();
  at("undo").disabled = !undoable();
  at("back").disabled = place === 0;
  at("next").disabled = whole && place === pairs.length - 1;
  [...at("strip").children].forEach((button, index) => {
    button.className = `${pairs[index].state} ${pairs[index].by}`;
    button.toggleAttribute("aria-current", index === place);
  });
  at("strip").children[place].scrollIntoView({ block: "nearest", inline: "center" });
  for (const near of pairs.slice(place + 1, place + 3))
    for (const path of [near.input, near.target]) new Image().src = source.picture(path, NEAR);
}

function facts(pair) {
  const scores = Object.entries(pair.scores).map(([name, value]) => `${name.replace("clip_sim_", "").replace("dir", "direction")} ${value.toFixed(2)}`);
  const captions = pair.input_caption ? [`“${pair.input_caption}” → “${pair.target_caption}”`] : [];
  return [`${place + 1}`, pair.operation.replaceAll("_", " "), ...captions, ...scores].filter(Boolean);
}

function verdictOf(pair) {
  if (pair.by === "person") return pair.state === "rejected" ? "✕ Rejected by you" : "✓ Accepted by you";
  return pair.state === "rejected" ? `✕ Rejected by the filter: ${pair.why.join("; ")}` : "Not judged yet";
}

function say(text, kind) {
  at("verdict").textContent = text;
  at("verdict").className = kind;
}

function pictures() {
  const pair = pairs[place];
  const side = document.body.classList.contains("real") ? REAL : NEAR;
  const flipped = document.body.classList.contains("flipped");
  at("input").src = source.picture(pair.input, side);
  at("target").src = source.picture(flipped ? pair.input : pair.target, side);
  at("side").textContent = flipped ? "Input" : "Target";
}

async function move(by) {
  place = Math.max(0, Math.min(pairs.length - 1, place + by));
  draw();
  if (!whole && place > pairs.length - AHEAD) {
    await safely(load);
    draw();
  }
}

function look(by) {
  looking = true;
  return move(by);
}

async function judge(accepted, pair = pairs[place]) {
  if (!pair || judging) return; // a key pressed twice is no verdict on a pair that was not seen yet
  const before = { state: pair.state, by: pair.by };
  judging = true;
  const done = await safely(() => source.judge(pair.id, accepted));
  judging = false;
  if (!done || !pairs.includes(pair)) return; // of those that have been chosen meanwhile, the server has counted it
  Object.assign(pair, done);
  counts[before.state] -= 1;
  counts[pair.state] += 1;
  counts.open += (pair.by !== "person") - (before.by !== "person");
  if (accepted !== null) {
    given.push(pair);
    looking = false;
  }
  if (accepted === null || (whole && place === pairs.length - 1)) draw();
  else await move(1);
}

/** The verdict that can be taken back: the last one, or for who has gone to a pair since, the one on that. */
function undoable() {
  const judged = (pair) => pair?.by === "person";
  const last = given.findLast((pair) => pairs.includes(pair) && judged(pair));
  const seen = judged(pairs[place]) ? pairs[place] : null;
  return looking ? (seen ?? last) : (last ?? seen);
}

/** Take a verdict back, and show its pair. */
async function undo() {
  const pair = undoable();
  if (!pair || judging) return;
  place = pairs.indexOf(pair);
  await judge(null, pair);
}

async function safely(work) {
  try {
    return (await work()) ?? true;
  } catch (error) {
    say(error.message, "wrong");
    return null;
  }
}

function flip(on) {
  if (document.body.classList.contains("flipped") === on || !pairs[place]) return;
  document.body.classList.toggle("flipped", on);
  pictures();
}

function toggleReal() {
  document.body.classList.toggle("real");
  if (pairs[place]) pictures();
}

function toggleKeys() {
  at("keys").hidden = !at("keys").hidden;
  at("help").setAttribute("aria-expanded", !at("keys").hidden);
}

const KEYS = {
  a: () => judge(true), enter: () => judge(true), r: () => judge(false), backspace: () => judge(false), u: undo,
  arrowright: () => look(1), arrowleft: () => look(-1), " ": () => flip(true), z: toggleReal, "?": toggleKeys,
  escape: () => at("keys").hidden || toggleKeys(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("select") || (event.target.matches("button:focus-visible") && ["Enter", " "].includes(event.key));
  const act = KEYS[event.key.toLowerCase()];
  if (!act || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) act();
});
document.addEventListener("keyup", (event) => event.key === " " && flip(false));
at("accept").onclick = () => judge(true);
at("reject").onclick = () => judge(false);
at("undo").onclick = undo;
at("next").onclick = () => look(1);
at("back").onclick = () => look(-1);
at("help").onclick = toggleKeys;
at("show").onchange = (event) => {
  event.target.blur(); // the keys are for the pairs again
  begin();
};
begin();
