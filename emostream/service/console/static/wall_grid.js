/** How pictures fill a screen. */

const SHAPE = 16 / 9; // of a tile; pictures of other shapes have borders
const NARROWEST = 150; // CSS pixels: a name and a face can still be recognized

/**
 * The grid in which tiles are largest.
 * @param {number} count of tiles
 * @param {{width: number, height: number}} room CSS pixels
 * @returns {{columns: number, rows: number}}
 */
export function gridFor(count, { width, height }) {
  let best = { columns: 1, rows: Math.max(1, count), size: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const size = Math.min(width / columns, (height / rows) * SHAPE);
    if (size > best.size) best = { columns, rows, size };
  }
  return { columns: best.columns, rows: best.rows };
}

/** How many tiles fit, none narrower than can be recognized; at least 1. @param {{width: number, height: number}} room @param {number} most */
export function fitting({ width, height }, most) {
  const [columns, rows] = [Math.floor(width / NARROWEST), Math.floor((height * SHAPE) / NARROWEST)];
  return Math.max(1, Math.min(most, columns * rows));
}
