/** One stream: its picture with the faces in it, who showed what over the last minutes, its figures, its events. */

import { api, streamPath } from "./api.js";
import { CrowdChart } from "./crowd_chart.js";
import { askToEdit } from "./dialogs.js";
import { Distribution } from "./distribution.js";
import { button, h, setText } from "./dom.js";
import { EventLog } from "./event_log.js";
import { Facts } from "./facts.js";
import { History } from "./history.js";
import { announce, showTrouble } from "./messages.js";
import { useLabels } from "./palette.js";
import { pastEvents } from "./past_events.js";
import { poll } from "./poll.js";
import { Preview } from "./preview.js";
import { PreviewHub } from "./preview_hub.js";
import { linkToStream } from "./routes.js";
import { StreamActions } from "./stream_actions.js";
import { StreamEvents } from "./stream_events.js";
import { explanationOf, isFinal, pictureNote, stateOf } from "./states.js";
import { Timeline } from "./timeline.js";

const EVERY_MS = 1000;
const SPANS = new Map([
  ["1 minute", 60_000], ["2 minutes", 120_000], ["5 minutes", 300_000],
  ["15 minutes", 900_000], ["1 hour", 3_600_000], ["6 hours", 21_600_000], ["24 hours", 86_400_000], ["7 days", 604_800_000],
]);
const LONGEST_LIVE_MS = 300_000; // what is longer comes from Redis
const PAST_EVERY_MS = 10_000;

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
  #view = null;
  #past = null; // what `pastEvents` found, for a long time span
  #pastPolling = null;
  #drawnWidth = 0;
  #pastNote = h("p", { class: "quiet" });
  #crowd = new CrowdChart();
  #edit = button("Edit", () => this.#askToEdit(), { disabled: true });
  #zones;

  /** @param {string} streamId */
  constructor(streamId) {
    this.title = streamId;
    this.streamId = streamId;
    this.preview = new Preview(streamId, { isSmall: false });
    this.#edit.setAttribute("aria-label", `Edit ${streamId}`);
    this.#zones = h("a", { class: "button", href: linkToStream(streamId, "zones") }, "Zones");
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
    this.#pastPolling?.stop();
    this.#events?.close();
    this.#hub.close();
    this.preview.close();
  }

  #header() {
    const back = h("a", { href: "#/", class: "back" }, "All streams");
    const name = h("h1", { tabindex: "-1", class: "wrap" }, this.streamId);
    return h("div", { class: "toolbar" }, back, name, this.#state, this.#explanation, this.#edit, this.#zones, ...this.actions.elements);
  }

  #panels() {
    const options = [...SPANS.keys()].map((label) => h("option", { selected: SPANS.get(label) === this.#spanMs }, label));
    const span = h("select", { id: "span", change: () => this.#chooseSpan(SPANS.get(span.value)) }, ...options);
    const choice = h("span", {}, h("label", { for: "span", class: "visually-hidden" }, "Time shown"), span);
    return [
      h("div", { class: "column" }, this.preview.element, panel("People", h("div", {}, this.#pastNote, this.#crowd.element, this.#timeline.element), choice)),
      h("div", { class: "column" }, panel("Status", this.#facts.element), panel("Emotions", this.#distribution.element)),
      panel("Events", this.#log.element, this.#log.controls),
    ];
  }

  async #load() {
    const view = await api.get(streamPath(this.streamId));
    this.#view = view;
    this.#edit.disabled = false;
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
    for (const element of [this.#edit, ...this.actions.elements]) element.disabled = true;
    this.#zones.hidden = true;
  }

  async #askToEdit() {
    if (!(await askToEdit(this.#view))) return;
    announce(`${this.streamId} is changed`);
    this.polling.now();
  }

  #chooseSpan(spanMs) {
    this.#pastPolling?.stop();
    [this.#spanMs, this.#past, this.#pastPolling] = [spanMs, null, null];
    const isLong = spanMs > LONGEST_LIVE_MS;
    this.#crowd.element.hidden = !isLong;
    setText(this.#pastNote, isLong ? "Loading…" : "");
    if (isLong) this.#pastPolling = poll(() => this.#loadPast(spanMs), { everyMs: PAST_EVERY_MS, onError: (error) => error && setText(this.#pastNote, error.message) });
    this.#draw();
  }

  async #loadPast(spanMs) {
    const isOver = this.#view !== null && isFinal(this.#view);
    const past = await pastEvents(this.streamId, { spanMs, until: isOver ? this.#view.reported_at : null });
    if (spanMs !== this.#spanMs) return; // another one was chosen meanwhile
    this.#past = past;
    setText(this.#pastNote, past.note);
    this.#drawPast();
  }

  #drawPast() {
    const { history, sinceMs, untilMs, stepMs } = this.#past;
    this.#drawnWidth = this.element.clientWidth;
    this.#timeline.update(history, this.#spanMs, { stepMs, isLive: false });
    this.#crowd.update(history, sinceMs, untilMs);
    this.#distribution.update(history.shares(sinceMs));
    this.#facts.drawLatency(history.latencies(sinceMs), sinceMs, untilMs, stepMs);
  }

  #draw() {
    if (this.#spanMs > LONGEST_LIVE_MS) {
      if (this.#past && this.#drawnWidth !== this.element.clientWidth) this.#drawPast();
      return;
    }
    const sinceMs = this.#history.nowMs() - this.#spanMs;
    this.#timeline.update(this.#history, this.#spanMs);
    this.#distribution.update(this.#history.shares(sinceMs));
    this.#facts.drawLatency(this.#history.latencies(sinceMs), sinceMs, this.#history.nowMs());
  }
}

function panel(title, content, controls = "") {
  return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, title), controls), content);
}
