/** Draws an event over its picture: boxes, track ids, emotions, zones. Positions come in pixels of the frame. */

import { colourOf, inkOn } from "./palette.js";
import { percent, shortened } from "./format.js";

const MAX_LABELS = 30; // beyond that they would hide the picture; the largest faces get one

/**
 * @param {CanvasRenderingContext2D} context
 * @param {object} event an emotion event (docs/events.md)
 * @param {{left: number, top: number, width: number, height: number}} place where the picture lies on the canvas
 * @param {{isSmall: boolean}} options small pictures get boxes and the names of few faces
 */
export function drawEvent(context, event, place, { isSmall }) {
  const [scaleX, scaleY] = [place.width / event.frame_width, place.height / event.frame_height];
  const faces = event.faces.map((face) => {
    const [x0, y0, x1, y1] = face.box_xyxy;
    const [x, y] = [place.left + x0 * scaleX, place.top + y0 * scaleY];
    return { face, x, y, width: (x1 - x0) * scaleX, height: (y1 - y0) * scaleY };
  });
  for (const each of faces) drawBox(context, each, isSmall ? 1.5 : 2);
  faces.sort((one, other) => other.height - one.height);
  const taken = [];
  for (const each of faces.slice(0, MAX_LABELS)) {
    const label = labelOf(context, each, place, isSmall);
    if (taken.some((other) => overlap(label, other))) continue; // half a name reads as another one
    taken.push(label);
    drawLabel(context, label);
  }
}

/** Outlines of the zones of a stream; corners are fractions of the picture. */
export function drawZones(context, zones, place) {
  context.save();
  context.setLineDash([6, 4]);
  context.lineWidth = 1.5;
  context.strokeStyle = context.fillStyle = "#ffffffcc";
  context.font = "12px system-ui, sans-serif";
  for (const zone of zones) {
    const corners = zone.polygon.map(([x, y]) => [place.left + x * place.width, place.top + y * place.height]);
    context.beginPath();
    for (const [x, y] of corners) context.lineTo(x, y);
    context.closePath();
    context.stroke();
    context.fillText(shortened(zone.name, 24), corners[0][0] + 6, corners[0][1] + 16);
  }
  context.restore();
}

/** What is said of a face in one line. */
export function nameOf(face, { isSmall = false } = {}) {
  const emotion = shortened(face.dominant, 20);
  if (isSmall) return emotion;
  const confidence = face.dominant === "unknown" ? "" : ` ${percent(face.confidence)}`;
  return `#${face.track_id} ${emotion}${confidence}`;
}

function drawBox(context, { face, x, y, width, height }, lineWidth) {
  context.beginPath();
  context.roundRect(x, y, Math.max(width, 1), Math.max(height, 1), Math.min(6, width / 8, height / 8));
  context.lineWidth = lineWidth + 2;
  context.strokeStyle = "#000000a0"; // seen on light pictures as well
  context.stroke();
  context.lineWidth = lineWidth;
  context.strokeStyle = colourOf(face.dominant);
  context.stroke();
}

/** Text of a face and where it goes: above the box, below it at the upper border, and always inside the picture. */
function labelOf(context, { face, x, y, height }, place, isSmall) {
  const size = isSmall ? 10 : 13;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const text = nameOf(face, { isSmall });
  const [width, lineHeight] = [context.measureText(text).width + size, size * 1.55];
  const left = Math.max(place.left, Math.min(x - 1, place.left + place.width - width));
  const above = y - lineHeight - 2;
  const top = above >= place.top ? above : Math.min(y + height + 2, place.top + place.height - lineHeight);
  return { text, left, top, width, height: lineHeight, margin: size / 2, colour: colourOf(face.dominant) };
}

function drawLabel(context, { text, left, top, width, height, margin, colour }) {
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(left, top, width, height, 4);
  context.fill();
  context.fillStyle = inkOn(colour);
  context.textBaseline = "middle";
  context.fillText(text, left + margin, top + height / 2 + 0.5);
}

function overlap(one, other) {
  const isBeside = one.left > other.left + other.width || other.left > one.left + one.width;
  return !isBeside && one.top < other.top + other.height && other.top < one.top + one.height;
}
