import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import "./support/page.mjs";
import { chooseRun, fetchRuns, labelOf, runLabels } from "../../web/run_chooser.mjs";
import { api, settle } from "./support/comfyui.mjs";

const DATE = 1_700_000_000;
const good = {
  run: "output/a",
  instruction: "make it red",
  date: DATE,
  turns: 2,
  score: 7.25,
  picture: { filename: "a.png" },
};
const unjudged = { ...good, run: "output/b", turns: 1, score: null };
const broken = { run: "output/c", date: DATE, error: "trajectory.json is damaged." };
const dialog = () => document.querySelector("dialog");
const card = (run) => document.querySelector(`.rt-run[title='${run}']`);

afterEach(() => dialog()?.close());

test("a line of the list tells runs apart by what stands first", () => {
  const date = new Date(1000 * DATE).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  assert.equal(labelOf(good), `score 7.3 · ${date} · make it red`);
  assert.equal(labelOf(unjudged), `not judged · ${date} · make it red`);
  assert.equal(labelOf(broken), `cannot be read · ${date} · output/c`);
});

test("a long instruction is cut", () => {
  const label = labelOf({ ...good, instruction: "word ".repeat(40) });
  assert.ok(label.endsWith("…") && label.length < 110);
});

test("labels are known once the runs have been read, and none where the server has none", async () => {
  api.reset({ "/rethink/runs": [good] });
  assert.deepEqual(await fetchRuns(), [good]);
  assert.equal(runLabels.get("output/a"), labelOf(good));
  api.reset();
  assert.deepEqual(await fetchRuns(), []);
});

test("a click on a card chooses its run", async () => {
  api.reset({ "/rethink/runs": [good, unjudged, broken] });
  const choice = chooseRun("output/b");
  await settle();
  assert.equal(document.activeElement, card("output/b"), "the run that is chosen now has the focus");
  assert.equal(card("output/c").disabled, true);
  assert.match(card("output/a").textContent, /^make it red.* · 2 turns · score 7\.3$/);
  assert.match(card("output/b").textContent, / · 1 turn · not judged$/);
  card("output/a").click();
  assert.equal(await choice, "output/a");
  assert.equal(dialog(), null);
});

test("a dialog that is closed chooses nothing", async () => {
  api.reset({ "/rethink/runs": [] });
  const choice = chooseRun("output/a");
  await settle();
  assert.match(dialog().textContent, /There are no runs/);
  dialog().querySelector("button").click();
  assert.equal(await choice, null);
});
