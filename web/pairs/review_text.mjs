/** The texts of the review page about a pair. */

/** @typedef {import("./api.mjs").Pair} Pair */

/** Where a pair comes from and how it scored. @param {Pair} pair */
export function describePair({ operation, input_caption, target_caption, scores }) {
  const captions = input_caption && `“${input_caption}” → “${target_caption}”`;
  const values = Object.entries(scores).map(([score, value]) => `${scoreLabel(score)} ${value.toFixed(2)}`);
  return [operation.replaceAll("_", " "), captions, ...values].filter(Boolean).join("  ·  ");
}

/** @param {string} score its name in the pairs' folder, such as "clip_sim_dir" */
const scoreLabel = (score) => score.replace("clip_sim_", "").replace("dir", "direction");

/** @param {Pair} pair */
export function describeVerdict({ by, state, why }) {
  if (by === "person") return state === "rejected" ? "✕ Rejected by you" : "✓ Accepted by you";
  return state === "rejected" ? `✕ Rejected by the filter: ${why.join("; ")}` : "Not judged yet";
}
