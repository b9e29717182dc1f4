/** Records as the loop writes them. */

export const critique = (semantic, quality = semantic, rest = {}) => ({
  status: semantic === null ? "failed" : "ok",
  semantic,
  quality,
  reasoning: "",
  checklist: [],
  note: "",
  ...rest,
});

/** A step: its score is the thinker's, unless the rest says otherwise. */
export const step = (turn, score, rest = {}) => ({
  turn,
  candidate: 0,
  prompt: `prompt ${turn}`,
  prompt_by: "thinker",
  seed: 7,
  critique: critique(score),
  judge: null,
  preservation: { changed: 0.25, outside_psnr: 40, unchanged: false },
  score,
  edit_seconds: 0,
  think_seconds: 0,
  file: `turn-${turn}.png`,
  settings: null,
  ...rest,
});

export const record = (steps, rest = {}) => ({
  instruction: "make it red",
  source: "source.png",
  steps,
  best: steps.length ? 0 : null,
  chosen: null,
  stopped: "accepted",
  message: "",
  options: { editor: "an editor", thinker: "a thinker", rules: { turns: 5 } },
  ...rest,
});
