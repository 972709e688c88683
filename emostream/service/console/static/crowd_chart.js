/** What everybody showed over a long time: in each step of time, the shares of the emotions among all faces. */

import { fittedContext, h } from "./dom.js";
import { colourOf } from "./palette.js";

const NARROWEST = 6; // CSS pixels of a step

export class CrowdChart {
  #canvas = h("canvas", { "aria-hidden": "true" }); // the shares of the whole time stand beside it in words

  constructor() {
    this.element = h("div", { class: "crowd", hidden: true }, h("span", { class: "quiet" }, "Everybody"), this.#canvas);
  }

  /** Redraw it. @param {import("./history.js").History} history */
  update(history, sinceMs, untilMs) {
    const { context, width, height } = fittedContext(this.#canvas);
    const steps = history.sharesOverTime(sinceMs, untilMs, Math.max(1, Math.floor(width / NARROWEST)));
    const edge = getComputedStyle(this.#canvas).color; // shows light colours on a light ground
    const emotions = history.shares(sinceMs).map(([emotion]) => emotion);
    const stepWidth = width / steps.length;
    for (const [index, shares] of steps.entries()) {
      let bottom = height;
      for (const emotion of emotions) {
        const size = (shares.get(emotion) ?? 0) * height;
        const [left, right] = [Math.round(index * stepWidth), Math.round((index + 1) * stepWidth)];
        context.fillStyle = colourOf(emotion);
        context.fillRect(left, bottom - size, right - left, size);
        context.fillStyle = edge;
        context.fillRect(left, bottom - size, right - left, size ? 1 : 0);
        bottom -= size;
      }
    }
  }
}
