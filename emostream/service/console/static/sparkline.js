/** A small line of one figure over time. */

import { fittedContext, h } from "./dom.js";

const GAP_MS = 5000; // longer than this without a figure, there was none

export class Sparkline {
  element = h("canvas", { class: "sparkline", "aria-hidden": "true" });

  /** @param {Array<{ms: number, value: number}>} samples in the order of time @param {number} sinceMs @param {number} untilMs @param {number} stepMs time between samples */
  update(samples, sinceMs, untilMs, stepMs = 0) {
    const { context, width, height } = fittedContext(this.element);
    if (samples.length < 2) return;
    const highest = Math.max(...samples.map((sample) => sample.value), 1);
    context.beginPath();
    let lastMs = -Infinity;
    for (const { ms, value } of samples) {
      const [x, y] = [((ms - sinceMs) / (untilMs - sinceMs)) * width, height - 1 - (value / highest) * (height - 2)];
      if (ms - lastMs > Math.max(GAP_MS, 1.5 * stepMs)) context.moveTo(x, y);
      else context.lineTo(x, y);
      lastMs = ms;
    }
    context.lineWidth = 1.5;
    context.strokeStyle = getComputedStyle(this.element).color;
    context.stroke();
  }
}
