/** One live picture with its faces drawn over it, or a note why there is none. */

import { fittedContext, h, setText } from "./dom.js";
import { drawEvent, drawZones } from "./overlay.js";
import { preferences } from "./preferences.js";

const OLD_MS = 4000; // then the picture is not what the camera sees now

export class Preview {
  #canvas;
  #note = h("span", { class: "preview-note" });
  #isSmall;
  #bitmap = null;
  #event = null;
  #shownAt = -Infinity;
  #labels = new Map(); // where they were in the last picture
  #isDecoding = false;
  #reason = ""; // of the stream
  #problem = ""; // of the pictures
  #watching = setInterval(() => this.#showNote(), 1000);
  #resizes = new ResizeObserver(() => this.#draw());

  /** Outlines to draw. */
  zones = [];

  /** Told the width and height of the picture whenever its shape becomes another one. */
  onShape = () => {};
  #shape = "";

  /** @param {string} streamId @param {{isSmall: boolean}} options */
  constructor(streamId, { isSmall }) {
    this.#isSmall = isSmall;
    this.#canvas = h("canvas", { role: "img", "aria-label": `Live picture of ${streamId}` });
    this.element = h("div", { class: isSmall ? "preview small" : "preview" }, this.#canvas, this.#note);
    this.#resizes.observe(this.#canvas);
  }

  /** Show a picture; those that come while one is being decoded are left out. */
  async show(event, jpeg) {
    if (this.#isDecoding) return;
    this.#isDecoding = true;
    try {
      const bitmap = await createImageBitmap(jpeg);
      this.#bitmap?.close();
      [this.#bitmap, this.#event, this.#shownAt] = [bitmap, event, performance.now()];
      this.#draw();
      this.#showNote();
    } catch { /* a damaged picture is left out */ } finally {
      this.#isDecoding = false;
    }
  }

  /** Say why nothing moves; while pictures come there is nothing to say. */
  note(text) {
    this.#reason = text;
    this.#showNote();
  }

  /** The service gives no pictures, in its own words; empty when it does. */
  fail(message) {
    this.#problem = message;
    this.#showNote();
  }

  /** Release the picture. */
  close() {
    clearInterval(this.#watching);
    this.#resizes.disconnect();
    this.#bitmap?.close();
    this.#bitmap = null;
  }

  #showNote() {
    const isLive = performance.now() - this.#shownAt < OLD_MS;
    const nothing = preferences.previews ? this.#problem || "waiting for a picture" : "previews are off";
    const shown = this.#reason || (isLive ? "" : nothing);
    setText(this.#note, shown);
    this.element.classList.toggle("is-old", Boolean(shown));
  }

  #draw() {
    if (!this.#bitmap) return;
    const shape = `${this.#bitmap.width} / ${this.#bitmap.height}`;
    if (!this.#isSmall) this.#canvas.style.aspectRatio = shape;
    if (shape !== this.#shape) this.onShape(this.#bitmap.width, this.#bitmap.height);
    this.#shape = shape;
    const { context, width, height } = fittedContext(this.#canvas);
    const scale = Math.min(width / this.#bitmap.width, height / this.#bitmap.height);
    const size = { width: this.#bitmap.width * scale, height: this.#bitmap.height * scale };
    const place = { ...size, left: (width - size.width) / 2, top: (height - size.height) / 2 };
    context.drawImage(this.#bitmap, place.left, place.top, place.width, place.height);
    if (!this.#isSmall) drawZones(context, this.zones, place);
    this.#labels = drawEvent(context, this.#event, place, { isSmall: this.#isSmall, earlier: this.#labels });
  }
}
