/** Draws an event over its picture: boxes, track ids, emotions, zones. Positions come in pixels of the frame. */

import { percent, shortened } from "./format.js";
import { placeLabels } from "./label_places.js";
import { colourOf, inkOn, useLabels } from "./palette.js";

const MAX_LABELS = 60; // of the largest faces; more are unreadable in any picture
const MAX_MAIN = 6; // of the largest faces: their labels say how sure it is

/**
 * @param {CanvasRenderingContext2D} context
 * @param {object} event an emotion event (docs/events.md)
 * @param {{left: number, top: number, width: number, height: number}} place where the picture lies on the canvas
 * @param {{isSmall: boolean, earlier: Map}} options small pictures have names only; `earlier` is where labels were in the
 *   picture before, as this function returned it, so that they stay there
 * @returns {Map} where the labels of this picture are
 */
export function drawEvent(context, event, place, { isSmall, earlier = new Map() }) {
  const [scaleX, scaleY] = [place.width / event.frame_width, place.height / event.frame_height];
  if (event.faces.length) useLabels(Object.keys(event.faces[0].smoothed_probabilities));
  const faces = event.faces.map((face) => {
    const [x0, y0, x1, y1] = face.box_xyxy;
    return { face, colour: colourOf(face.dominant), box: { x0: Math.round(x0 * scaleX), y0: Math.round(y0 * scaleY), x1: Math.round(x1 * scaleX), y1: Math.round(y1 * scaleY) } };
  });
  faces.sort((one, other) => other.box.y1 - other.box.y0 - (one.box.y1 - one.box.y0));
  const size = isSmall ? 10 : 13;
  context.save();
  context.translate(place.left, place.top);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const labels = faces.slice(0, MAX_LABELS).map((each, index) => labelOf(context, each, { isSmall, isMain: index < MAX_MAIN, size }));
  const room = { width: Math.floor(place.width), height: Math.floor(place.height), faces: faces.map((each) => each.box) };
  const places = placeLabels(labels, room, earlier);
  labels.forEach((label, index) => places[index]?.side === "away" && drawLeader(context, label, places[index].area));
  for (const each of faces.toReversed()) drawBox(context, each, isSmall ? 1.5 : 2);
  labels.forEach((label, index) => places[index] && drawLabel(context, label, places[index].area, size));
  context.restore();
  return new Map(labels.map((label, index) => [label.key, places[index]]));
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
export function nameOf(face, { isSmall = false, isMain = true } = {}) {
  const emotion = shortened(face.dominant, 20);
  if (isSmall) return emotion;
  const confidence = face.dominant === "unknown" || !isMain ? "" : ` ${percent(face.confidence)}`;
  return `#${face.track_id} ${emotion}${confidence}`;
}

function labelOf(context, { face, box, colour }, { isSmall, isMain, size }) {
  const text = nameOf(face, { isSmall, isMain });
  const width = Math.ceil(context.measureText(text).width) + size;
  return { text, colour, box, width, height: Math.round(size * 1.55), gap: 3, key: face.track_id };
}

function drawBox(context, { box, colour }, lineWidth) {
  const [width, height] = [Math.max(box.x1 - box.x0, 1), Math.max(box.y1 - box.y0, 1)];
  context.beginPath();
  context.roundRect(box.x0, box.y0, width, height, Math.min(6, width / 8, height / 8));
  outline(context, colour, lineWidth);
}

/** A line from a face to its label, in the same colour. */
function drawLeader(context, { box, colour }, area) {
  const middle = (one) => [(one.x0 + one.x1) / 2, (one.y0 + one.y1) / 2];
  const nearest = (one, [x, y]) => [Math.min(Math.max(x, one.x0), one.x1), Math.min(Math.max(y, one.y0), one.y1)];
  context.beginPath();
  context.moveTo(...nearest(box, middle(area)));
  context.lineTo(...nearest(area, middle(box)));
  outline(context, colour, 1);
}

function outline(context, colour, lineWidth) {
  context.lineWidth = lineWidth + 2;
  context.strokeStyle = "#000000a0"; // seen on light pictures as well
  context.stroke();
  context.lineWidth = lineWidth;
  context.strokeStyle = colour;
  context.stroke();
}

function drawLabel(context, { text, colour }, area, size) {
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(area.x0, area.y0, area.x1 - area.x0, area.y1 - area.y0, 4);
  context.fill();
  context.fillStyle = inkOn(colour);
  context.textBaseline = "middle";
  context.fillText(text, area.x0 + size / 2, (area.y0 + area.y1) / 2 + 0.5);
}
