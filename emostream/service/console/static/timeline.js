/** Who showed what over the last minutes: a row for each person, what it is now in words, and a lane of colours. */

import { fittedContext, h, setText } from "./dom.js";
import { duration, moment, percent, shortened } from "./format.js";
import { sharesOf } from "./history.js";
import { colourOf } from "./palette.js";

const MAX_ROWS = 10;
const GAP_MS = 1500; // longer than this without a sample, the person was not there
const LEFT_MS = 2000; // longer than this without a sample, the person is gone
const LOWEST = 0.25; // of the lane's height: a small confidence is seen, too

export class Timeline {
  #rows = new Map(); // key of the person → row
  #list = h("ul", { class: "lanes" });
  #empty = h("p", { class: "quiet" }, "No faces in this time.");
  #more = h("p", { class: "quiet" });
  #scale = h("div", { class: "lane-scale", "aria-hidden": "true" });

  constructor() {
    this.element = h("div", { class: "timeline" }, this.#empty, this.#list, this.#scale, this.#more);
  }

  /**
   * Redraw it.
   * @param {import("./history.js").History} history
   * @param {number} spanMs how long ago it begins
   * @param {{stepMs?: number, isLive?: boolean}} options time between samples; live, those who are here come first, else those seen longest
   */
  update(history, spanMs, { stepMs = 0, isLive = true } = {}) {
    const untilMs = history.nowMs();
    const gaps = { gapMs: Math.max(GAP_MS, 1.5 * stepMs), leftMs: Math.max(LEFT_MS, 1.5 * stepMs) };
    const persons = history.persons(untilMs - spanMs);
    const isHere = (person) => untilMs - person.samples.at(-1).ms < gaps.leftMs;
    const byId = (one, other) => one.trackId - other.trackId; // rows that stay in place
    const shown = isLive
      ? [...persons.filter(isHere).sort(byId), ...persons.filter((person) => !isHere(person))].slice(0, MAX_ROWS)
      : persons.toSorted((one, other) => other.samples.length - one.samples.length).slice(0, MAX_ROWS).sort(byId);
    this.#keepOnly(new Set(shown.map((person) => person.key)));
    for (const [index, person] of shown.entries()) {
      const row = this.#rowOf(person);
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
      updateRow(row, person, untilMs, spanMs, gaps);
    }
    this.#empty.hidden = shown.length > 0;
    this.#scale.hidden = !shown.length;
    const ago = (part) => (part ? `−${duration((part * spanMs) / 1000)}` : "now");
    const labels = [1, 0.5, 0].map((part) => (isLive ? ago(part) : moment(untilMs - part * spanMs, spanMs)));
    this.#scale.replaceChildren(...labels.map((label) => h("span", {}, label)));
    setText(this.#more, persons.length > MAX_ROWS ? `and ${persons.length - MAX_ROWS} more people` : "");
  }

  #rowOf(person) {
    if (!this.#rows.has(person.key)) {
      const parts = { swatch: h("span", { class: "swatch" }), now: h("strong"), mostly: h("span", { class: "quiet" }), lane: h("canvas", { "aria-hidden": "true" }) };
      const name = h("span", { class: "person-name" }, `#${person.trackId}`);
      const element = h("li", { class: "lane" }, h("div", { class: "person" }, parts.swatch, name, parts.now, parts.mostly), parts.lane);
      this.#rows.set(person.key, { ...parts, element });
    }
    return this.#rows.get(person.key);
  }

  #keepOnly(keys) {
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
  }
}

function updateRow(row, person, untilMs, spanMs, { gapMs, leftMs }) {
  const last = person.samples.at(-1);
  const isHere = untilMs - last.ms < leftMs;
  const [mostly] = sharesOf(person.samples, untilMs - spanMs);
  const now = `${shortened(last.emotion, 20)}${last.confidence ? ` ${percent(last.confidence)}` : ""}`;
  setText(row.now, isHere ? now : "left");
  setText(row.mostly, `mostly ${shortened(mostly[0], 20)} (${percent(mostly[1])})`);
  row.swatch.style.backgroundColor = colourOf(isHere ? last.emotion : mostly[0]);
  row.element.classList.toggle("has-left", !isHere);
  drawLane(row.lane, person.samples, untilMs, spanMs, gapMs);
}

/** Each sample lasts until the next one, and is as high as it is sure; an edge shows light colours on a light lane. */
function drawLane(canvas, samples, untilMs, spanMs, gapMs) {
  const { context, width, height } = fittedContext(canvas);
  const edge = getComputedStyle(canvas).color;
  const position = (ms) => Math.round((1 - (untilMs - ms) / spanMs) * width);
  for (let index = 0; index < samples.length; index += 1) {
    const { ms, emotion, confidence } = samples[index];
    const nextMs = Math.min(samples[index + 1]?.ms ?? untilMs, ms + gapMs);
    const [left, right] = [position(ms), position(nextMs)];
    if (right <= 0) continue;
    const top = height * (1 - Math.max(LOWEST, confidence));
    context.fillStyle = colourOf(emotion);
    context.fillRect(left, top, Math.max(1, right - left), height - top);
    context.fillStyle = edge;
    context.fillRect(left, top, Math.max(1, right - left), 1);
  }
}
