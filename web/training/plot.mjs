/** The arithmetic of a training's plot: positions of steps and values, and formatted numbers. */

/** @typedef {[number, number]} Point a step and a value */
/** @typedef {{left: number, right: number, top: number, bottom: number}} Box in the plot's own units */
/** @typedef {{x: (step: number) => number, y: (value: number) => number, stepAt: (x: number) => number}} Scale */

const MARGIN = 0.08; // of the range of values, above and below it

/**
 * The lowest and the highest of the values, with a margin.
 *
 * @param {number[]} values
 * @returns {[number, number]}
 */
export function rangeOf(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = MARGIN * (high - low) || Math.abs(high) / 10 || 1;
  return [low - margin, high + margin];
}

/**
 * Steps 1 to `last` from left to right, values between two bounds from the bottom up. Values beyond are clamped.
 *
 * @param {Box} box
 * @param {number} last
 * @param {[number, number]} bounds
 * @returns {Scale}
 */
export function scaleOf({ left, right, top, bottom }, last, [low, high]) {
  const steps = Math.max(1, last - 1);
  return {
    x: (step) => left + ((right - left) * (step - 1)) / steps,
    y: (value) => bottom - (bottom - top) * Math.min(1, Math.max(0, (value - low) / (high - low))),
    stepAt: (x) => Math.round(1 + (steps * (x - left)) / (right - left)),
  };
}

/** A curve as the points of an SVG polyline. @param {Point[]} curve @param {Scale} scale */
export const pointsOf = (curve, { x, y }) =>
  curve.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");

/** A step function: each value holds until the next one, up to `last`. @param {Point[]} curve @param {number} last @returns {Point[]} */
export function stairsOf(curve, last) {
  return curve.flatMap(([step, value], index) => [
    [step, value],
    [curve[index + 1]?.[0] ?? Math.max(step, last), value],
  ]);
}

/** A few round values for the axis. @param {[number, number]} bounds */
export function ticksOf([low, high]) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= rough) ?? rough;
  const first = Math.ceil(low / step) * step;
  /** @type {number[]} */
  const ticks = [];
  for (let value = first; value <= high; value += step) ticks.push(Number(value.toPrecision(6)));
  return ticks;
}

/** The value of a curve at a step: of its last point up to there. @param {Point[]} curve @param {number} step */
export const valueAt = (curve, step) => (curve.findLast(([at]) => at <= step) ?? curve[0])?.[1];

/** The one of several steps that is nearest; undefined of none. @param {number[]} steps @param {number} to */
export const nearestStep = (steps, to) =>
  steps.length ? steps.reduce((best, step) => (Math.abs(step - to) < Math.abs(best - to) ? step : best)) : undefined;

/** @param {number} value */
export const formatLoss = (value) => String(Number(value.toPrecision(3)));

/** @param {number} value */
export const formatRate = (value) =>
  value && value < 1e-3 ? value.toExponential().replace("e-", "e−") : String(value);

/** @param {number} seconds */
export function formatDuration(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${Math.max(1, Math.round(seconds))} s`;
}

/** @param {number} bytes */
export const formatMemory = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** @param {number} share */
export const formatShare = (share) => `${Math.round(100 * share)}%`;
