/** One stream: its picture with the faces in it, who showed what over the last minutes, its figures, its events. */

import { api, streamPath } from "./api.js";
import { Distribution } from "./distribution.js";
import { h, setText } from "./dom.js";
import { EventLog } from "./event_log.js";
import { Facts } from "./facts.js";
import { History } from "./history.js";
import { announce, showTrouble } from "./messages.js";
import { useLabels } from "./palette.js";
import { poll } from "./poll.js";
import { Preview } from "./preview.js";
import { PreviewHub } from "./preview_hub.js";
import { StreamActions } from "./stream_actions.js";
import { StreamEvents } from "./stream_events.js";
import { explanationOf, pictureNote, stateOf } from "./states.js";
import { Timeline } from "./timeline.js";

const EVERY_MS = 1000;
const SPANS = new Map([["1 minute", 60_000], ["2 minutes", 120_000], ["5 minutes", 300_000]]);

export class StreamPage {
  #state = h("span", { class: "state" });
  #explanation = h("p", { class: "explanation", role: "status" });
  #hub = new PreviewHub("full");
  #history = new History();
  #timeline = new Timeline();
  #distribution = new Distribution();
  #log = new EventLog();
  #facts = new Facts();
  #events = null;
  #lastState = null;
  #spanMs = 120_000;

  /** @param {string} streamId */
  constructor(streamId) {
    this.title = streamId;
    this.streamId = streamId;
    this.preview = new Preview(streamId, { isSmall: false });
    this.actions = new StreamActions(streamId, { onChange: () => this.polling.now(), onRemoved: () => { location.hash = "#/"; } });
    this.element = h("div", { class: "stream-page" }, this.#header(), ...this.#panels());
    this.#hub.watch(streamId, this.preview);
    this.polling = poll(() => this.#load(), { everyMs: EVERY_MS, onError: (error) => this.#onError(error) });
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.drawing = setInterval(() => document.hidden || this.#draw(), isCalm ? 1000 : 250);
  }

  /** Leave the page. */
  close() {
    clearInterval(this.drawing);
    this.polling.stop();
    this.#events?.close();
    this.#hub.close();
    this.preview.close();
  }

  #header() {
    const back = h("a", { href: "#/", class: "back" }, "All streams");
    const name = h("h1", { tabindex: "-1", class: "wrap" }, this.streamId);
    return h("div", { class: "toolbar" }, back, name, this.#state, this.#explanation, ...this.actions.elements);
  }

  #panels() {
    const options = [...SPANS.keys()].map((label) => h("option", { selected: SPANS.get(label) === this.#spanMs }, label));
    const span = h("select", { id: "span", change: () => { this.#spanMs = SPANS.get(span.value); this.#draw(); } }, ...options);
    const choice = h("span", {}, h("label", { for: "span", class: "visually-hidden" }, "Time shown"), span);
    return [
      h("div", { class: "column" }, this.preview.element, panel("People", this.#timeline.element, choice)),
      h("div", { class: "column" }, panel("Status", this.#facts.element), panel("Emotions", this.#distribution.element)),
      panel("Events", this.#log.element, this.#log.controls),
    ];
  }

  async #load() {
    const view = await api.get(streamPath(this.streamId));
    const state = stateOf(view);
    setText(this.#state, state);
    this.#state.dataset.state = state;
    setText(this.#explanation, explanationOf(view));
    this.#tellChange(state, view);
    this.preview.zones = view.zones;
    this.preview.note(pictureNote(view));
    this.actions.update(view);
    this.#facts.update(view);
    const nowMs = view.reported_at ? Date.parse(view.reported_at) : Date.now();
    this.#events ??= new StreamEvents(this.streamId, nowMs, (event) => this.#onEvent(event));
  }

  #onEvent(event) {
    if (event.faces.length) useLabels(Object.keys(event.faces[0].smoothed_probabilities));
    this.#history.add(event);
    this.#log.add(event);
  }

  #tellChange(state, view) {
    if (this.#lastState !== null && this.#lastState !== state) {
      announce(`${this.streamId} is ${state}`);
      this.#log.addStatus(state, explanationOf(view), this.#history.nowMs());
    }
    this.#lastState = state;
  }

  #onError(error) {
    if (error?.status !== 404) {
      showTrouble(error);
      return;
    }
    this.polling.stop();
    this.#events?.close();
    setText(this.#state, "removed");
    this.#state.dataset.state = "ended";
    setText(this.#explanation, "There is no such stream; it was deleted or never added.");
    this.preview.note("removed");
    for (const element of this.actions.elements) element.disabled = true;
  }

  #draw() {
    const sinceMs = this.#history.nowMs() - this.#spanMs;
    this.#timeline.update(this.#history, this.#spanMs);
    this.#distribution.update(this.#history.shares(sinceMs));
    this.#facts.drawLatency(this.#history.latencies(sinceMs), sinceMs, this.#history.nowMs());
  }
}

function panel(title, content, controls = "") {
  return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, title), controls), content);
}
