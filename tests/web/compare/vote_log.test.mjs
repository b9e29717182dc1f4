import assert from "node:assert/strict";
import { test } from "node:test";
import { VoteLog, voterOf } from "../../../web/compare/vote_log.mjs";

const vote = (id) => ({ id, voter: "me", task: "t", a: "x", b: "y", winner: "a", at: "" });
const ids = (log) => log.lines.map(({ id }) => id);

function memory(full = false) {
  const kept = new Map();
  const setItem = (name, value) => {
    if (full) throw new Error("QuotaExceededError");
    kept.set(name, value);
  };
  return { getItem: (name) => kept.get(name) ?? null, setItem };
}

function folder() {
  const server = { lines: [], gone: false };
  server.load = async () => {
    if (server.gone) throw new Error("gone");
    return [...server.lines];
  };
  server.send = async (lines) => {
    if (server.gone) throw new Error("gone");
    server.lines.push(...lines);
  };
  return server;
}

test("a file's votes are there when it is opened again, and two tabs lose nothing", async () => {
  const storage = memory();
  const [one, two] = [new VoteLog("c", storage, null), new VoteLog("c", storage, null)];
  await one.open();
  await two.open();
  await one.add([vote("1")]);
  await two.add([vote("2")]);
  const again = new VoteLog("c", storage, null);
  await again.open();
  assert.deepEqual(ids(again).sort(), ["1", "2"]);
  const other = new VoteLog("another", storage, null);
  await other.open();
  assert.deepEqual(ids(other), []);
});

test("what a server does not take stays, and is sent when it is back", async () => {
  const [storage, server] = [memory(), folder()];
  const log = new VoteLog("c", storage, server);
  await log.open();
  await log.add([vote("1")]);
  server.gone = true;
  await log.add([vote("2")]);
  assert.match(log.trouble, /1 vote is not in the folder yet \(gone\)/);
  const again = new VoteLog("c", storage, server);
  server.gone = false;
  await again.open();
  assert.deepEqual(
    server.lines.map(({ id }) => id),
    ["1", "2"],
  );
  await log.add([vote("3")]);
  assert.deepEqual(server.lines.map(({ id }) => id).slice(2), ["2", "3"], "twice the same line counts once");
  assert.equal(log.trouble, "");
});

test("votes are put together with those of others", async () => {
  const [mine, theirs] = [new VoteLog("c", memory(), null), new VoteLog("c", memory(), null)];
  await mine.add([vote("1")]);
  await theirs.add([vote("1"), vote("2")]);
  assert.deepEqual(await mine.import(`${theirs.export()}\nno vote\n{"id": 3}\n`), { added: 1, damaged: 2 });
  assert.deepEqual(ids(mine), ["1", "2"]);
});

test("a browser that keeps nothing says so", async () => {
  const full = new VoteLog("c", memory(true), null);
  await full.add([vote("1")]);
  assert.match(full.trouble, /export your votes/);
  const none = new VoteLog("c", null, null);
  await none.add([vote("1")]);
  assert.match(none.trouble, /export your votes/);
  assert.deepEqual(ids(none), ["1"]);
});

test("a voter is the same tomorrow", () => {
  const storage = memory();
  assert.equal(voterOf(storage), voterOf(storage));
  assert.notEqual(voterOf(null), voterOf(null));
});
