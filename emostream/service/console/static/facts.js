/** Figures of one stream: how fast, how late, what was lost; and what its source is. */

import { h, setText } from "./dom.js";
import { count, milliseconds, rate } from "./format.js";
import { Sparkline } from "./sparkline.js";

const TILES = [
  ["Frames/s", (view) => rate(view.measured_fps)],
  ["Latency", (view) => milliseconds(view.latency_ms)],
  ["Lag", (view) => milliseconds(view.lag_ms)],
  ["Dropped", (view) => count(view.num_dropped)],
  ["Reconnects", (view) => count(view.num_reconnects)],
  ["Damaged", (view) => count(view.num_corrupt)],
];

const LINES = [
  ["Source", (view) => view.url],
  ["Kind", (view) => [view.kind, view.decoder, view.width ? `${view.width} × ${view.height}` : ""].filter(Boolean).join(" · ")],
  ["Pace", (view) => paceOf(view)],
  ["Seen", (view) => `${count(view.num_faces)} faces in ${count(view.num_frames)} frames`],
  ["Owner", (view) => view.worker_id ?? "none"],
  ["Last error", (view) => view.last_error || "none"],
];

export class Facts {
  #values = [...TILES, ...LINES].map(() => h("dd"));
  #latency = new Sparkline();

  constructor() {
    const pairs = [...TILES, ...LINES].map(([title], index) => h("div", {}, h("dt", {}, title), this.#values[index]));
    const tiles = h("dl", { class: "tiles" }, ...pairs.slice(0, TILES.length));
    const lines = h("dl", { class: "lines" }, ...pairs.slice(TILES.length));
    const latency = h("div", { class: "latency" }, h("span", { class: "quiet" }, "Latency over time"), this.#latency.element);
    this.element = h("div", {}, tiles, latency, lines);
  }

  /** @param {object} view of the stream */
  update(view) {
    for (const [index, [, valueOf]] of [...TILES, ...LINES].entries()) setText(this.#values[index], valueOf(view));
  }

  /** See `Sparkline.update`. */
  drawLatency(samples, sinceMs, untilMs, stepMs) {
    this.#latency.update(samples, sinceMs, untilMs, stepMs);
  }
}

function paceOf({ every, target_fps }) {
  const sampled = every > 1 ? `one frame of ${count(every)}` : "every frame";
  return target_fps ? `${sampled}, at most ${target_fps} a second` : sampled;
}
