/** The newest events of a stream, running by; they can be stopped to be read. */

import { button, h, setText } from "./dom.js";
import { clock, count } from "./format.js";
import { nameOf } from "./overlay.js";

const MAX_LINES = 80;
const MAX_FACES = 5; // of one line

export class EventLog {
  #isStopped = false;
  #list = h("ol");
  #stop = button("Stop", () => this.#toggle(), { class: "quiet-button", "aria-pressed": "false" });

  constructor() {
    this.controls = this.#stop;
    // Not read out by itself: it would never end.
    this.element = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": "Newest events", tabindex: "0" }, this.#list);
  }

  /** @param {object} event an emotion event */
  add(event) {
    const names = event.faces.slice(0, MAX_FACES).map((face) => nameOf(face) + qualityOf(face));
    const others = event.faces.length > MAX_FACES ? [`and ${event.faces.length - MAX_FACES} more`] : [];
    const dropped = event.num_dropped ? ` · ${count(event.num_dropped)} dropped` : "";
    this.#addLine(Date.parse(event.captured_at), `frame ${count(event.frame_index)}${dropped}`, [...names, ...others].join(", ") || "no faces");
  }

  /** Something happened to the stream itself. */
  addStatus(state, detail, ms) {
    this.#addLine(ms, state, detail, "log-status");
  }

  #addLine(ms, what, text, kind = "") {
    if (this.#isStopped) return;
    const line = h("li", { class: kind }, h("time", {}, clock(ms)), h("span", { class: "log-what" }, what), h("span", {}, text));
    this.#list.prepend(line);
    while (this.#list.children.length > MAX_LINES) this.#list.lastChild.remove();
  }

  #toggle() {
    this.#isStopped = !this.#isStopped;
    setText(this.#stop, this.#isStopped ? "Go on" : "Stop");
    this.#stop.setAttribute("aria-pressed", String(this.#isStopped));
  }
}

const qualityOf = (face) => (face.quality.length ? ` (${face.quality.join(", ")})` : "");
