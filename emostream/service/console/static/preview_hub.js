/** The live pictures of all previews that are seen, over one connection: browsers open only six to a host. */

import { api } from "./api.js";
import { partsOf } from "./multipart.js";
import { preferences } from "./preferences.js";

const SETTLE_MS = 150; // during scrolling the wanted streams change many times
const RETRY_MS = 2000;
/** The service takes no more at once. */
export const MAX_STREAMS = 48;

export class PreviewHub {
  #watchers = new Map(); // stream id → its preview
  #size;
  #timer = 0;
  #abort = new AbortController();
  #listening = new AbortController();

  /** @param {"full" | "small"} size of all pictures */
  constructor(size) {
    this.#size = size;
    const { signal } = this.#listening;
    document.addEventListener("visibilitychange", () => this.#settle(), { signal });
    preferences.addEventListener("change", () => this.#settle(), { signal });
  }

  /** Show the pictures of a stream, each with its own event. @param {string} streamId @param {import("./preview.js").Preview} preview */
  watch(streamId, preview) {
    this.#watchers.set(streamId, preview);
    this.#settle();
  }

  /** Get them no more. */
  unwatch(streamId) {
    if (this.#watchers.delete(streamId)) this.#settle();
  }

  /** End everything. */
  close() {
    this.#watchers.clear();
    this.#listening.abort();
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  #settle(waitMs = SETTLE_MS) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), waitMs);
  }

  async #open() {
    this.#abort.abort();
    if (!this.#watchers.size || document.hidden || !preferences.previews) return;
    const abort = (this.#abort = new AbortController());
    const query = new URLSearchParams([...this.#watchers.keys()].slice(0, MAX_STREAMS).map((id) => ["stream", id]));
    query.set("size", this.#size);
    query.set("blur", String(preferences.blur));
    try {
      const body = await api.open(`v1/previews?${query}`, { signal: abort.signal });
      this.#fail("");
      await this.#deliver(body);
    } catch (error) {
      if (!abort.signal.aborted) this.#fail(error.status ? error.message : ""); // the page says when the service is away
    }
    if (!abort.signal.aborted) this.#settle(RETRY_MS);
  }

  #fail(message) {
    for (const preview of this.#watchers.values()) preview.fail(message);
  }

  async #deliver(body) {
    let event = null;
    for await (const part of partsOf(body)) {
      if (part.type === "application/json") event = JSON.parse(new TextDecoder().decode(part.body));
      else if (event) this.#watchers.get(event.stream_id)?.show(event, new Blob([part.body], { type: "image/jpeg" }));
    }
  }
}
