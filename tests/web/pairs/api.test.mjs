import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { PairsApi } from "../../../web/pairs/api.mjs";

let requests;
let reply;
globalThis.fetch = async (address, options) => {
  requests.push({ address, method: options.method ?? "GET", body: options.body });
  return reply;
};

beforeEach(() => {
  requests = [];
  reply = new Response('{"fine": true}');
});

const pairs = new PairsApi("/api", "key1");

test("every request goes to the pairs of its key", async () => {
  await pairs.list({ count: 60, after: "a b", show: "open" });
  await pairs.setVerdict("p", null);
  await pairs.previewThresholds({ changed: 0.5 });
  assert.deepEqual(requests, [
    { address: "/api/rethink/pairs/key1?after=a+b&show=open&count=60", method: "GET", body: undefined },
    { address: "/api/rethink/pairs/key1/verdict", method: "POST", body: '{"id":"p","accepted":null}' },
    { address: "/api/rethink/pairs/key1/tried", method: "POST", body: '{"changed":0.5}' },
  ]);
  assert.equal(pairs.imageUrl("a&b.png", 320), "/api/rethink/pairs/key1/picture?path=a%26b.png&side=320");
});

test("a key that is none leads to no pairs and nowhere else", () => {
  for (const key of ["", "../..", "a/b", "key?x=", "//evil.test"])
    assert.equal(new PairsApi("/api", key).address, "/api/rethink/pairs/unknown");
});

test("what the server refuses is an error with its sentence", async () => {
  reply = new Response('{"error": "There is no such pair."}', { status: 400 });
  await assert.rejects(pairs.setVerdict("p", true), /^Error: There is no such pair\.$/);
  reply = new Response("<h1>Bad gateway</h1>", { status: 502 });
  await assert.rejects(pairs.list({ count: 1 }), /^Error: The server responded with status 502\.$/);
});
