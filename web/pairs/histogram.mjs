/** The arithmetic of the plots: scores in bins, and thresholds on the same scale. */

/** @typedef {[number, number]} Bin its lower edge and how many pairs are in it */
/**
 * @typedef {{left: number, width: number, height: number, middle: number}} Bar in shares of the plot; middle: a score
 */
/** @typedef {{low: number, high: number, bars: Bar[]}} Histogram low, high: the scores at both ends of the plot */

/**
 * Bins on a scale that includes the threshold. Heights are square roots, so that small bins stay visible next to large ones.
 *
 * @param {Bin[]} bins two or more, equally wide
 * @param {number} threshold
 * @returns {Histogram}
 */
export function histogramOf(bins, threshold) {
  const step = bins[1][0] - bins[0][0];
  const [first, last] = [bins[0][0], bins[bins.length - 1][0] + step];
  const margin = 0.02 * (Math.max(last, threshold) - Math.min(first, threshold));
  const low = Math.min(first, threshold) - margin;
  const high = Math.max(last, threshold) + margin;
  const highest = Math.max(...bins.map(([, count]) => count));
  const bars = bins.map(([edge, count]) => ({
    left: (edge - low) / (high - low),
    width: (0.92 * step) / (high - low),
    height: Math.sqrt(count / highest),
    middle: edge + step / 2,
  }));
  return { low, high, bars };
}

/**
 * A threshold within the limits of its number field, with no more decimals than the plot can tell apart.
 *
 * @param {number} value
 * @param {{low: number, high: number}} scale of the plot
 * @param {{min?: number, max?: number, precision?: number}} limits
 */
export function roundThreshold(value, { low, high }, { min = low, max = high, precision = 4 }) {
  const decimals = Math.min(precision, Math.max(0, 3 - Math.floor(Math.log10(high - low))));
  return Number(Math.min(max, Math.max(min, value)).toFixed(decimals));
}

/** @param {number} threshold @param {boolean} above */
export const formatThreshold = (threshold, above) => `${above ? "≥" : "≤"} ${Number(threshold.toPrecision(3))}`;
