/**
 * Where labels of faces go: beside their faces, over no other face or label, and where they were one picture before.
 * The rules of annotated videos (`emostream/render/label_places.py`, tested against this); all values are whole pixels.
 */

const MOST_COVERED = 8; // a label without free room covers at most one part in this many of any face
const REACH = 6; // heights of a label: the longest line from a face to its label
const BESIDE = ["above", "above end", "below", "below end", "right", "left", "right end", "left end"];

const between = (value, low, high) => Math.min(Math.max(value, low), high);
const areaAt = (x0, y0, label) => ({ x0, y0, x1: x0 + label.width, y1: y0 + label.height });
const meets = (one, other) => one.x0 < other.x1 && one.x1 > other.x0 && one.y0 < other.y1 && one.y1 > other.y0;

/**
 * Place labels, the most important first.
 * @param {Array<{box: Area, width: number, height: number, gap: number, key: any}>} labels
 * @param {{width: number, height: number, faces: Area[]}} picture
 * @param {Map<any, Place | null>} earlier places in the picture before, by key
 * @returns {Array<Place | null>} null where there is no room near the face
 * @typedef {{x0: number, y0: number, x1: number, y1: number}} Area
 * @typedef {{area: Area, side: string, distanceSquared: number}} Place `away`: a line leads to it; `over`: over its face
 */
export function placeLabels(labels, picture, earlier = new Map()) {
  const room = { ...picture, labels: [] };
  const places = labels.map(() => null);
  const take = (index, place) => {
    places[index] = place;
    if (place) room.labels.push(place.area);
  };
  labels.forEach((label, index) => {
    const before = earlier.get(label.key);
    if (before) take(index, kept(label, before, room));
  });
  labels.forEach((label, index) => {
    if (places[index]) return;
    // A label that was left out comes back only where there is more than just enough room, or it would flicker.
    const clearance = earlier.get(label.key) === null ? Math.floor(label.height / 4) : 0;
    let place = firstBeside(label, room, clearance);
    if (!place && !clearance) {
      place = nearest(label, room) ?? over(label, room);
      if (place && place.distanceSquared > (REACH * label.height) ** 2) place = null;
    }
    take(index, place);
  });
  return places;
}

/** The part of a box inside the picture; a line at its border where nothing of it is. */
function visible(box, room) {
  const [x0, y0] = [between(box.x0, 0, room.width), between(box.y0, 0, room.height)];
  return { x0, y0, x1: Math.max(Math.min(box.x1, room.width), x0), y1: Math.max(Math.min(box.y1, room.height), y0) };
}

const holds = (area, room) => area.x0 >= 0 && area.y0 >= 0 && area.x1 <= room.width && area.y1 <= room.height;

function isFree(area, room, clearance = 0) {
  const { x0, y0, x1, y1 } = area;
  const grown = { x0: x0 - clearance, y0: y0 - clearance, x1: x1 + clearance, y1: y1 + clearance };
  return holds(area, room) && !room.faces.some((face) => meets(face, grown)) && !room.labels.some((taken) => meets(taken, grown));
}

/** The area of a label at a side of its face, moved along the face into the picture where that helps. */
function beside(label, side, room) {
  const box = visible(label.box, room);
  const across = (x) => Math.max(Math.min(x, room.width - label.width), 0);
  const down = (y) => Math.max(Math.min(y, room.height - label.height), 0);
  const [along, isEnd] = [side.split(" ")[0], side.endsWith("end")];
  if (along === "above" || along === "below") {
    const x0 = across(isEnd ? box.x1 - label.width : box.x0);
    return areaAt(x0, along === "above" ? box.y0 - label.gap - label.height : box.y1 + label.gap, label);
  }
  const y0 = down(isEnd ? box.y1 - label.height : box.y0);
  return areaAt(along === "right" ? box.x1 + label.gap : box.x0 - label.gap - label.width, y0, label);
}

function firstBeside(label, room, clearance) {
  for (const side of BESIDE) {
    const area = beside(label, side, room);
    if (isFree(area, room, clearance)) return { area, side, distanceSquared: 0 };
  }
  return null;
}

/** The free place all over the picture that is nearest to the face. */
function nearest(label, room) {
  const box = visible(label.box, room);
  const rows = steps(room.height - label.height, Math.max(Math.floor(label.height / 2), 1));
  let best = null;
  for (const x of steps(room.width - label.width, Math.max(Math.floor(label.width / 4), 1))) {
    for (const y of rows) {
      const area = areaAt(x, y, label);
      const distance = distanceSquared(area, box);
      if (best && distance >= best.distanceSquared) continue;
      if (isFree(area, room)) best = { area, side: "away", distanceSquared: distance };
    }
  }
  return best;
}

/** The first corner of its own face where it covers no label, and of any face an eighth or less. */
function over(label, room) {
  const box = visible(label.box, room);
  for (const y of [box.y0, box.y1 - label.height]) {
    for (const x of [box.x0, box.x1 - label.width]) {
      const area = areaAt(x, y, label);
      const isLittle = room.faces.every((face) => common(face, area) * MOST_COVERED <= (face.x1 - face.x0) * (face.y1 - face.y0));
      if (isLittle && holds(area, room) && !room.labels.some((taken) => meets(taken, area))) return { area, side: "over", distanceSquared: 0 };
    }
  }
  return null;
}

/** The earlier place, when it is still free and there is no better one. */
function kept(label, before, room) {
  if (before.side === "over") return null;
  if (before.side !== "away") {
    const area = beside(label, before.side, room);
    return isFree(area, room) ? { area, side: before.side, distanceSquared: 0 } : null;
  }
  const better = firstBeside(label, room, Math.floor(label.height / 4));
  if (better) return better;
  const area = areaAt(before.area.x0, before.area.y0, label);
  const farthest = Math.max(4 * before.distanceSquared, (4 * label.height) ** 2);
  const isNear = distanceSquared(area, visible(label.box, room)) <= farthest;
  return isNear && isFree(area, room) ? { ...before, area } : null;
}

function distanceSquared(one, other) {
  const across = Math.max(one.x0 - other.x1, other.x0 - one.x1, 0);
  const down = Math.max(one.y0 - other.y1, other.y0 - one.y1, 0);
  return across * across + down * down;
}

function common(one, other) {
  const across = Math.min(one.x1, other.x1) - Math.max(one.x0, other.x0);
  const down = Math.min(one.y1, other.y1) - Math.max(one.y0, other.y0);
  return Math.max(across, 0) * Math.max(down, 0);
}

/** 0, step, … up to and with the last; nothing when that is below 0. */
function steps(last, step) {
  const found = [];
  for (let at = 0; at < last; at += step) found.push(at);
  return last >= 0 ? [...found, last] : found;
}
