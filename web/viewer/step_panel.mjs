/** The details of one step: its scores, prompt, checklist, reasoning and sampling. */

import { element, icon } from "./dom.mjs";
import { levelOf, promptText } from "./frames.mjs";
import { describeRegion, regionsOf } from "./regions.mjs";
import {
  describeAuthor,
  describeComparison,
  formatNumber,
  isJudged,
  spreadOf,
  verdictOf,
  warningOf,
} from "./trajectory.mjs";

/** @typedef {import("./trajectory.mjs").Step} Step */
/** @typedef {import("./trajectory.mjs").Turn} Turn */
/** @typedef {import("./view.mjs").View} View */

/**
 * The children of the panel beside the comparer.
 *
 * @param {View} view
 * @param {Turn} turn that the step belongs to
 * @param {number} index of the step
 * @param {(index: number) => void} onselect the user went to another candidate
 */
export function stepPanel(view, turn, index, onselect) {
  const { record } = view;
  const step = record.steps[index];
  const verdict = verdictOf(step);
  const [warning, regions] = [warningOf(step), regionsOf(step)];
  return [
    element(
      "div",
      { class: "rt-step-head" },
      element("h2", {}, `Turn ${turn.number}`),
      record.best === index ? resultBadge(view, index) : null,
      element(
        "span",
        { class: "rt-score", title: "Turns are ranked by this score" },
        element("small", {}, "score"),
        formatNumber(step.score),
      ),
    ),
    turn.steps.length > 1 ? candidateButtons(view, turn, index, onselect) : null,
    warning ? element("p", { class: "rt-warning", "data-status": verdict.status }, warning) : null,
    verdict.semantic === null || verdict.quality === null
      ? null
      : element(
          "div",
          { class: "rt-bars" },
          scoreBar("Semantic", verdict.semantic, spreadOf(verdict, 0)),
          scoreBar("Quality", verdict.quality, spreadOf(verdict, 1)),
        ),
    section(["Prompt ", element("small", {}, describeAuthor(turn.promptBy))], promptText(turn.diff, true, "rt-text")),
    verdict.checklist.length ? section("Checklist", checklistItems(verdict.checklist)) : null,
    regions.length ? section("Boxes", regionItems(regions)) : null,
    step.critique.reasoning ? section("Reasoning", paragraph(step.critique.reasoning)) : null,
    step.judge?.reasoning ? section("The judge", paragraph(step.judge.reasoning)) : null,
    step.comparison ? section("Side by side", paragraph(describeComparison(step.comparison))) : null,
    section("Preservation", paragraph(describePreservation(step.preservation))),
    element("p", { class: "rt-facts" }, describeSampling(step)),
  ].filter((part) => part !== null);
}

/**
 * A button that does not take the focus on a mouse click, so that the space bar keeps flipping.
 *
 * @param {import("./dom.mjs").Attributes} attributes
 * @param {...(import("./dom.mjs").Child | import("./dom.mjs").Child[])} children
 */
export function toolButton(attributes, ...children) {
  /** @param {Event} event */
  const onmousedown = (event) => event.preventDefault();
  return element("button", { type: "button", class: "rt-tool", onmousedown, ...attributes }, ...children);
}

/** @param {View} view @param {number} index */
function resultBadge({ record }, index) {
  if (!isJudged(record.steps[index]))
    return element("span", { class: "rt-badge rt-unjudged" }, icon("question"), "Result, not judged");
  return element("span", { class: "rt-badge" }, icon("star"), record.chosen === index ? "Accepted by you" : "Best");
}

/** @param {View} view @param {Turn} turn @param {number} selected @param {(index: number) => void} onselect */
function candidateButtons({ record, address }, turn, selected, onselect) {
  const buttons = turn.steps.map((index) => {
    const step = record.steps[index];
    const label = `Candidate ${step.candidate + 1}, score ${formatNumber(step.score)}`;
    return toolButton(
      {
        "aria-pressed": String(index === selected),
        "aria-label": label,
        title: label,
        onclick: () => onselect(index),
      },
      element("img", { src: address(step.file), alt: "", draggable: "false" }),
      element("span", {}, formatNumber(step.score), record.best === index ? icon("star") : null),
    );
  });
  return element("div", { class: "rt-candidates", role: "group", "aria-label": "Candidates" }, buttons);
}

/** @param {import("./dom.mjs").Child | import("./dom.mjs").Child[]} title @param {Node} content */
const section = (title, content) => element("section", { class: "rt-part" }, element("h3", {}, title), content);

/** @param {string} text */
const paragraph = (text) => element("p", { class: "rt-text" }, text);

/** @param {string} label @param {number} value @param {number | null} spread */
function scoreBar(label, value, spread) {
  return element(
    "div",
    { class: "rt-bar", "data-level": levelOf(value), style: `--share:${value / 10}` },
    element("span", {}, label),
    element("i", { "aria-hidden": "true" }),
    element("b", {}, formatNumber(value), spread === null ? null : element("small", {}, ` ± ${formatNumber(spread)}`)),
  );
}

/** @param {import("./trajectory.mjs").ChecklistItem[]} checklist */
function checklistItems(checklist) {
  const items = checklist.map(({ text, met }) => {
    const mark = met === null ? "question" : met ? "check" : "cross";
    const label = met === null ? "not verified" : met ? "met" : "not met";
    const spoken = element("span", { class: "rt-hidden" }, `${label}: `);
    return element("li", { "data-met": String(met) }, icon(mark), spoken, text);
  });
  return element("ul", { class: "rt-checklist" }, items);
}

/** @param {import("./trajectory.mjs").Region[]} regions */
function regionItems(regions) {
  const items = regions.map((region) =>
    element(
      "li",
      {},
      element("i", { class: `rt-region-mark rt-region-${region.kind}`, "aria-hidden": "true" }),
      describeRegion(region),
    ),
  );
  return element("ul", { class: "rt-checklist" }, items);
}

/** @param {import("./trajectory.mjs").Preservation} preservation */
export function describePreservation({ changed, outside_psnr: psnr }) {
  if (changed >= 0.999) return "The whole image has changed.";
  return `${formatNumber(100 * changed)} % of the image has changed; the rest is at ${formatNumber(psnr)} dB PSNR.`;
}

/** Seed, settings, seconds, and the thinker's own scores if those of a judge count. @param {Step} step */
export function describeSampling(step) {
  const parts = [`seed ${step.seed}`, ...describeSettings(step.settings ?? {})];
  if (step.focus?.length) parts.push("limited to the boxes of the previous turn");
  if (step.edit_seconds) parts.push(`edited in ${formatSeconds(step.edit_seconds)} s`);
  if (step.think_seconds) parts.push(`judged in ${formatSeconds(step.think_seconds)} s`);
  const { draws = [] } = verdictOf(step);
  if (draws.length > 1) parts.push(`scores are the means of ${draws.length} answers`);
  if (step.judge && step.critique.semantic !== null) {
    const { semantic, quality } = step.critique;
    parts.push(`the thinker's own scores: ${formatNumber(semantic)} / ${formatNumber(quality)}`);
  }
  return parts.join(" · ");
}

/** @param {import("./trajectory.mjs").SamplingSettings} settings */
function describeSettings({ steps, sampler, text_guidance: text, image_guidance: image, strength, negative }) {
  return [
    steps && `${steps} steps`,
    sampler && sampler !== "default" && sampler,
    text && `text guidance ${formatSetting(text)}`,
    image && `image guidance ${formatSetting(image)}`,
    strength && `strength ${formatSetting(strength)}`,
    negative && `negative prompt “${negative}”`,
  ].filter(Boolean);
}

/** @param {number} value */
const formatSetting = (value) => String(Math.round(value * 100) / 100);

/** @param {number} value */
const formatSeconds = (value) => (value < 10 ? Number(value.toPrecision(2)) : Math.round(value));
