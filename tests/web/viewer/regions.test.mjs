import assert from "node:assert/strict";
import { test } from "node:test";
import "../support/page.mjs";
import {
  describeRegion,
  hasRegions,
  regionFrames,
  regionLabels,
  regionsOf,
  regionThumb,
} from "../../../web/viewer/regions.mjs";
import { critique, record, step } from "../support/records.mjs";

const hat = { kind: "place", box: [0.1, 0.2, 0.6, 0.4], label: "the hat" };
const pointing = (...regions) => step(1, 3, { critique: critique(3, 3, { regions }) });

test("a step has the boxes that can be drawn", () => {
  assert.deepEqual(regionsOf(step(1, 3)), []);
  const odd = [
    { ...hat, kind: "nice" },
    { ...hat, box: [0, 0, 1] },
    { ...hat, box: [0, 0, 1, 2] },
    { ...hat, box: "all" },
  ];
  assert.deepEqual(regionsOf(pointing(hat, ...odd)), [hat]);
  assert.equal(regionsOf(pointing(...Array.from({ length: 1000 }, () => hat))).length, 16);
  assert.equal(hasRegions(record([step(1, 3)])), false);
  assert.equal(hasRegions(record([step(1, 3), pointing(hat)])), true);
});

test("what a box is, in words", () => {
  assert.equal(describeRegion(hat), "place of the edit: the hat");
  assert.equal(describeRegion({ ...hat, kind: "wrong", label: "" }), "still wrong");
  const [label] = regionLabels([{ ...hat, label: "<b>" }]);
  assert.equal(label.textContent, "place of the edit: <b>");
  assert.equal(label.style.left, "10%");
});

test("frames lie where the image does", () => {
  const [under, frame] = regionFrames([hat], { width: 200, height: 100 }).querySelectorAll("rect");
  const place = ["x", "y", "width", "height"].map((name) => Number(frame.getAttribute(name)));
  assert.deepEqual(place, [20, 20, 100, 20]);
  assert.match(frame.getAttribute("class"), /rt-region-place/);
  assert.equal(under.getAttribute("x"), frame.getAttribute("x"));
  assert.equal(regionFrames([hat]).getAttribute("preserveAspectRatio"), "none");
});

test("a frame of the strip is drawn as soon as the size of its image is known", () => {
  const image = document.createElement("img");
  const holder = regionThumb([hat], image);
  assert.equal(holder.children.length, 0);
  Object.defineProperties(image, { naturalWidth: { value: 200 }, naturalHeight: { value: 100 } });
  image.dispatchEvent(new Event("load"));
  assert.equal(holder.querySelector("svg").getAttribute("viewBox"), "0 0 200 100");
  assert.equal(regionThumb([hat], image).children.length, 1);
});
