/** Where and how much two pictures differ. */

const NOTHING = 2; // of 255: rounding, not a change
export const FULL = 64; // of 255: from here on the colour no longer grows

/** Colours from “a little” to “FULL and more”, dark to light so that they can be told apart without seeing hues. */
const RAMP = [
  [88, 28, 135],
  [190, 24, 93],
  [249, 115, 22],
  [253, 224, 71],
  [255, 255, 240],
];

export const legend = `linear-gradient(90deg, ${RAMP.map((color) => `rgb(${color})`).join(", ")})`;

/**
 * Draws the largest difference over red, green and blue into `canvas`, at the size of `source`, over a dark grey shadow
 * of it for orientation. Both are loaded images; a result of another size is scaled to the source's.
 */
export function drawDifference(canvas, source, result) {
  const [width, height] = [source.naturalWidth, source.naturalHeight];
  const [before, after] = [pixels(source, width, height), pixels(result, width, height)];
  Object.assign(canvas, { width, height });
  const out = new ImageData(width, height);
  const table = colors();
  for (let at = 0; at < before.length; at += 4) {
    const moved = Math.max(
      Math.abs(before[at] - after[at]),
      Math.abs(before[at + 1] - after[at + 1]),
      Math.abs(before[at + 2] - after[at + 2]),
    );
    if (moved <= NOTHING) {
      const grey = 14 + 0.22 * (0.3 * before[at] + 0.59 * before[at + 1] + 0.11 * before[at + 2]);
      out.data[at] = out.data[at + 1] = out.data[at + 2] = grey;
    } else {
      const color = 3 * Math.min(moved, FULL);
      out.data[at] = table[color];
      out.data[at + 1] = table[color + 1];
      out.data[at + 2] = table[color + 2];
    }
    out.data[at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(out, 0, 0);
}

function pixels(image, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** Red, green, blue of every difference from 0 to FULL. */
function colors() {
  const table = new Uint8ClampedArray(3 * (FULL + 1));
  for (let moved = 0; moved <= FULL; moved++) {
    const place = (moved / FULL) * (RAMP.length - 1);
    const low = Math.min(Math.floor(place), RAMP.length - 2);
    RAMP[low].forEach((value, channel) => {
      table[3 * moved + channel] = value + (RAMP[low + 1][channel] - value) * (place - low);
    });
  }
  return table;
}
