/** Trainings as the server describes them. */

export const save = (step, heldOut, more = {}) => ({
  step,
  loss: heldOut + 0.01,
  held_out: heldOut,
  previews: [`previews/0-step-${step}.png`],
  scores: [{ changed: 0.5, kept: 1 }],
  means: { changed: 0.5, kept: 1 },
  ...more,
});

export const training = (saves = [], more = {}) => ({
  title: "mine",
  step: 40,
  steps: 100,
  seconds: 20,
  seconds_left: 30,
  samples_per_second: 8,
  memory: 2 ** 31,
  curves: {
    raw: [
      [1, 0.5],
      [40, 0.2],
    ],
    smooth: [
      [1, 0.5],
      [40, 0.3],
    ],
    rates: [[1, 0.0001]],
  },
  saves,
  shown: [
    { instruction: "make it red", input: "previews/in.png", target: "t", base: "b", scores: { changed: 0 }, means: {} },
  ],
  best: 0,
  why: "",
  stopped: "",
  ...more,
});
