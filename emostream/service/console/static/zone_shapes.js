/** Zones as values: polygons whose corners are fractions of the picture, and what is wrong with them. */

const DIGITS = 4;
const MAX_CORNERS = 64;
const MAX_ZONES = 64;
const MAX_NAME = 64;

/**
 * @typedef {[number, number]} Corner fractions of width and height; [0, 0] is the top left
 * @typedef {{name: string, polygon: Corner[]}} Zone
 */

const inside = (value) => Number(Math.min(1, Math.max(0, value)).toFixed(DIGITS));

/** A corner inside the picture, with few digits. @returns {Corner} */
export const cornerAt = (x, y) => [inside(x), inside(y)];

/**
 * A polygon with one more corner: between two corners where it lies near the line that joins them, else at the end.
 * @param {Corner[]} polygon @param {Corner} corner
 * @param {{width: number, height: number, reach: number}} screen size of the picture, and what counts as near, in CSS pixels
 * @returns {{polygon: Corner[], index: number}} and where the new corner stands
 */
export function withCorner(polygon, corner, { width, height, reach }) {
  const scaled = ([x, y]) => [x * width, y * height];
  let [index, nearest] = [polygon.length, reach];
  for (let at = 0; polygon.length >= 3 && at < polygon.length; at += 1) {
    const distance = distanceToLine(scaled(corner), scaled(polygon[at]), scaled(polygon[(at + 1) % polygon.length]));
    if (distance <= nearest) [index, nearest] = [at + 1, distance];
  }
  return { polygon: polygon.toSpliced(index, 0, corner), index };
}

/** A polygon with a corner elsewhere. */
export const withMoved = (polygon, index, corner) => polygon.with(index, corner);

/** A polygon without a corner. */
export const withoutCorner = (polygon, index) => polygon.toSpliced(index, 1);

/** A name that no zone has yet. @param {Zone[]} zones */
export function freeName(zones) {
  const taken = new Set(zones.map((zone) => zone.name));
  let number = zones.length + 1;
  while (taken.has(`zone ${number}`)) number += 1;
  return `zone ${number}`;
}

/**
 * What is wrong with each zone, one sentence each; empty where nothing is.
 * @param {Zone[]} zones
 * @returns {Array<{name: string, polygon: string}>}
 */
export function problemsOf(zones) {
  return zones.map(({ name, polygon }, index) => ({
    name: problemOfName(name, zones.slice(0, index)),
    polygon: problemOfPolygon(polygon) || (index >= MAX_ZONES ? `A stream may have at most ${MAX_ZONES} zones.` : ""),
  }));
}

/** Which zone an error of the interface is about. @param {string} where for example "body.zones.1.polygon.0" @returns {{index: number, part: "name" | "polygon"} | null} */
export function placeOf(where) {
  const [, list, index, part] = where.split(".");
  if (list !== "zones" || !/^\d+$/.test(index ?? "")) return null;
  return { index: Number(index), part: part === "name" ? "name" : "polygon" };
}

function problemOfName(name, earlier) {
  if (!name) return "Enter a name.";
  if ([...name].length > MAX_NAME) return `A name has at most ${MAX_NAME} characters.`;
  return earlier.some((zone) => zone.name === name) ? "Another zone has this name." : "";
}

function problemOfPolygon(polygon) {
  if (polygon.length < 3) return `A zone needs at least 3 corners; this one has ${polygon.length}.`;
  return polygon.length > MAX_CORNERS ? `A zone has at most ${MAX_CORNERS} corners.` : "";
}

/** Distance of a point to the line between two others. */
function distanceToLine([x, y], [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  const along = length ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length)) : 0;
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}
