/** Where and how much two images differ. */

const ROUNDING = 2; // of 255: differences up to here are not a change
export const FULL = 64; // of 255: the color does not change above this

/** Colors from “a little” to “FULL and more”, dark to light, so that they can be told apart without color vision. */
const RAMP = [
  [88, 28, 135],
  [190, 24, 93],
  [249, 115, 22],
  [253, 224, 71],
  [255, 255, 240],
];

export const RAMP_GRADIENT = `linear-gradient(90deg, ${RAMP.map((color) => `rgb(${color})`).join(", ")})`;

/** Red, green, blue of every difference from 0 to FULL. */
const RAMP_TABLE = new Uint8ClampedArray(3 * (FULL + 1)).map((_, index) => {
  const [difference, channel] = [Math.floor(index / 3), index % 3];
  const place = (difference / FULL) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[low][channel] + (RAMP[low + 1][channel] - RAMP[low][channel]) * (place - low);
});

/**
 * Draw the largest difference over red, green and blue into `canvas`, at the size of `source`, on top of a dark gray copy
 * of it for orientation.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLImageElement} source loaded
 * @param {HTMLImageElement} result loaded; one of another size is scaled to the source's
 */
export function drawDifference(canvas, source, result) {
  const [width, height] = [source.naturalWidth, source.naturalHeight];
  const colors = differenceColors(pixelsOf(source, width, height), pixelsOf(result, width, height));
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.putImageData(new ImageData(colors, width, height), 0, 0);
}

/**
 * The colors that show the difference of two images.
 *
 * @param {Uint8ClampedArray} source red, green, blue and alpha of every pixel
 * @param {Uint8ClampedArray} result the same of as many pixels
 */
export function differenceColors(source, result) {
  const colors = new Uint8ClampedArray(source.length);
  for (let at = 0; at < source.length; at += 4) {
    const difference = Math.max(
      Math.abs(source[at] - result[at]),
      Math.abs(source[at + 1] - result[at + 1]),
      Math.abs(source[at + 2] - result[at + 2]),
    );
    if (difference <= ROUNDING) {
      const gray = 14 + 0.22 * (0.3 * source[at] + 0.59 * source[at + 1] + 0.11 * source[at + 2]);
      colors[at] = colors[at + 1] = colors[at + 2] = gray;
    } else {
      const row = 3 * Math.min(difference, FULL);
      colors[at] = RAMP_TABLE[row];
      colors[at + 1] = RAMP_TABLE[row + 1];
      colors[at + 2] = RAMP_TABLE[row + 2];
    }
    colors[at + 3] = 255;
  }
  return colors;
}

/** @param {HTMLImageElement} image @param {number} width @param {number} height */
function pixelsOf(image, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("The browser has no 2D canvas.");
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}
