/** All workers: what each of them runs, and how fast. */

import { api } from "./api.js";
import { h, setText } from "./dom.js";
import { count, milliseconds, rate } from "./format.js";
import { showTrouble } from "./messages.js";
import { poll } from "./poll.js";
import { RecordTable } from "./record_table.js";
import { linkToStream } from "./routes.js";

const EVERY_MS = 2000;
const MAX_LINKS = 40; // of one worker

/** What a worker does, in words. */
export function statusOf({ is_draining, max_streams, num_streams }) {
  if (is_draining) return "stopping: gives its streams to others";
  if (!max_streams) return "takes no streams now";
  return num_streams < max_streams ? "takes streams" : "full";
}

export class WorkersPage {
  title = "Workers";
  #number = h("p", { class: "quiet", role: "status" });
  #empty = h("div", { class: "empty" }, "Loading…");
  #table = new RecordTable("Workers", [
    { title: "Worker", text: (worker) => worker.id },
    { title: "Host", text: (worker) => worker.host ?? "–" },
    { title: "Status", text: statusOf },
    { title: "Load", cell: loadCell },
    { title: "Frames/s", text: (worker) => rate(worker.measured_fps) },
    { title: "Latency", text: (worker) => milliseconds(worker.latency_ms) },
    { title: "Streams", cell: streamsCell },
  ], (worker) => worker.id);

  constructor() {
    const bar = h("div", { class: "toolbar" }, h("h1", { tabindex: "-1" }, "Workers"), this.#number);
    this.element = h("div", {}, bar, this.#table.element, this.#empty);
    this.polling = poll(() => this.#load(), { everyMs: EVERY_MS, onError: showTrouble });
  }

  /** Leave the page. */
  close() {
    this.polling.stop();
  }

  async #load() {
    const workers = await api.get("v1/workers");
    this.#table.update(workers);
    const sum = (name) => workers.reduce((total, worker) => total + worker[name], 0);
    setText(this.#number, `${count(workers.length)} · ${count(sum("num_streams"))} of at most ${count(sum("max_streams"))} streams`);
    this.#empty.hidden = workers.length > 0;
    setText(this.#empty, "No worker is running. Streams wait until one starts.");
  }
}

function loadCell() {
  const bar = h("progress", { "aria-label": "Streams of the worker" });
  const text = h("span", { class: "quiet" });
  const update = ({ num_streams, max_streams }) => {
    bar.max = Math.max(1, max_streams);
    bar.value = num_streams;
    setText(text, `${count(num_streams)} of ${count(max_streams)}`);
  };
  return { element: h("div", { class: "progress" }, bar, text), update };
}

/** Links to the streams; they change only when the streams do, so that the focus stays. */
function streamsCell() {
  const element = h("div", { class: "links" });
  let shown = "";
  const update = ({ stream_ids }) => {
    if (stream_ids.join(" ") === shown) return;
    shown = stream_ids.join(" ");
    const links = stream_ids.slice(0, MAX_LINKS).map((id) => h("a", { href: linkToStream(id) }, id));
    const others = stream_ids.length > MAX_LINKS ? [`and ${count(stream_ids.length - MAX_LINKS)} more`] : [];
    element.replaceChildren(...(links.length ? links : ["none"]), ...others);
  };
  return { element, update };
}
