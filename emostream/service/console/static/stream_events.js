/** The events of one stream, from some minutes ago on, while they are shown; reconnects after an interruption. */

import { api, streamPath } from "./api.js";
import { eventsOf } from "./server_sent.js";

const MAX_PER_SECOND = 4; // enough for a timeline of minutes
const MAX_PICTURES_PER_SECOND = 60; // of screens
const RETRY_MS = 2000;
const BACK_MS = 120_000;

export class StreamEvents {
  #abort = new AbortController();
  #lastId;
  #maxPerSecond;

  /**
   * @param {string} streamId
   * @param {number | null} nowMs by the service's clock: ids of entries begin with the time of their picture; null for all
   *   events from now on, also more than a time line needs
   * @param {(event: object) => void} onEvent
   */
  constructor(streamId, nowMs, onEvent) {
    this.#lastId = nowMs === null ? "now" : String(Math.max(0, Math.round(nowMs - BACK_MS)));
    this.#maxPerSecond = nowMs === null ? MAX_PICTURES_PER_SECOND : MAX_PER_SECOND;
    this.#run(streamId, onEvent);
  }

  /** Read no more. */
  close() {
    this.#abort.abort();
  }

  async #run(streamId, onEvent) {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      try {
        const query = new URLSearchParams({ from: this.#lastId, max_per_second: this.#maxPerSecond });
        for await (const { id, type, data } of eventsOf(await api.open(streamPath(streamId, `/events?${query}`), { signal }))) {
          if (type !== "emotion") continue;
          this.#lastId = id;
          onEvent(JSON.parse(data));
        }
      } catch { /* the page says elsewhere that the service is away, or that the stream is gone */ }
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
  }
}
