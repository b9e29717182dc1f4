import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "./support/page.mjs";
import { liveRuns, readRun, referenceOf, Run } from "../../web/runs.mjs";
import { api, app } from "./support/comfyui.mjs";
import { record, step } from "./support/records.mjs";

const reference = referenceOf("output/rethink/thinking_00001_");
const onDisk = record([step(1, 3)]);
let there;
globalThis.fetch = async () => (there ? new Response(JSON.stringify(onDisk)) : new Response("", { status: 404 }));

beforeEach(() => {
  there = true;
  liveRuns.clear();
  api.reset();
});

test("the name of a run says where its record and its images lie", () => {
  assert.deepEqual(reference, { filename: "trajectory.json", subfolder: "rethink/thinking_00001_", type: "output" });
  const { address } = new Run(reference, onDisk);
  assert.equal(address("a b.png"), "/api/view?filename=a+b.png&subfolder=rethink%2Fthinking_00001_&type=output");
});

test("a run is read from its record, one that is going on stays itself", async () => {
  const run = await readRun(reference);
  assert.deepEqual(run.record, onDisk);
  assert.notEqual(await readRun(reference), run);
  liveRuns.set(run.key, run);
  run.record = null;
  assert.equal(await readRun(reference), run);
  assert.deepEqual(run.record, onDisk);
});

test("a record that is gone is no run, and leaves what is known of it", async () => {
  const run = await readRun(reference);
  there = false;
  assert.equal(await readRun(reference), null);
  await run.reload();
  assert.deepEqual(run.record, onDisk);
});

test("orders go to the server, and its refusal to the user", async () => {
  const run = new Run(reference, onDisk);
  api.reset({ "/rethink/order": {} });
  await run.send({ action: "accept", step: 2 });
  assert.deepEqual(api.requests, [["/rethink/order", { run: reference.subfolder, action: "accept", step: 2 }]]);
  api.reset({ "/rethink/order": new Response('{"error": "No loop is running."}', { status: 400 }) });
  app.messages.length = 0;
  assert.equal(await run.send({ action: "stop" }), null);
  assert.deepEqual(app.messages, ["No loop is running."]);
});

test("of the previews that nodes send, one is kept", () => {
  const run = new Run(reference, onDisk);
  run.live = { preview: null };
  const revoked = [];
  globalThis.URL.revokeObjectURL = (url) => revoked.push(url);
  run.showPreview(new Blob(["1"]));
  const first = run.live.preview;
  run.showPreview(new Blob(["2"]));
  assert.notEqual(run.live.preview, first);
  assert.equal(revoked.at(-1), first);
});
