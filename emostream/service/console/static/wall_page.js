/** Pictures of many streams at once, as large as they fit on the screen. */

import { api } from "./api.js";
import { button, h, setText } from "./dom.js";
import { count } from "./format.js";
import { showTrouble } from "./messages.js";
import { poll } from "./poll.js";
import { Preview } from "./preview.js";
import { MAX_STREAMS, PreviewHub } from "./preview_hub.js";
import { linkToStream, linkWith } from "./routes.js";
import { ALL, FILTERS, UNFINISHED, pictureNote, stateOf } from "./states.js";
import { fitting, gridFor } from "./wall_grid.js";

const EVERY_MS = 2000;
const MAX_LARGE = 4; // so few pictures are sent in full size

/** What lies below the wall is neither seen nor reached with the keyboard. */
function coverPage(isCovered) {
  document.body.classList.toggle("has-wall", isCovered);
  for (const element of document.querySelectorAll(".skip, .top")) element.inert = isCovered;
}

export class WallPage {
  title = "Wall";
  #search;
  #filter;
  #tiles = new Map(); // stream id → tile
  #hub = null;
  #isLarge = null;
  #pageSize = 0;
  #cursors = [""];
  #nextCursor = null;
  #number = h("p", { class: "quiet", role: "status" });
  #previous = button("Previous", () => this.#turn(-1));
  #next = button("Next", () => this.#turn(1));
  #full = button("Full screen", () => this.#toggleFull(), { "aria-pressed": "false" });
  #grid = h("div", { class: "wall-grid" });
  #empty = h("p", { class: "wall-empty" }, "Loading…");
  #leaving = new AbortController();
  #resizes = new ResizeObserver(() => this.#layOut());

  /** @param {URLSearchParams} query which streams: `search` and `filter`, as on the page of all streams */
  constructor(query) {
    this.#search = query.get("search") ?? "";
    this.#filter = FILTERS.has(query.get("filter")) ? query.get("filter") : ALL;
    const back = linkWith("", { search: this.#search, filter: this.#filter === ALL ? "" : this.#filter });
    const bar = h("div", { class: "wall-bar" }, h("h1", { tabindex: "-1" }, "Wall"), this.#number, this.#previous, this.#next, this.#full, h("a", { href: back, class: "button" }, "Close"));
    this.element = h("div", { class: "wall" }, bar, this.#grid, this.#empty);
    this.#full.hidden = !document.fullscreenEnabled;
    const { signal } = this.#leaving;
    document.addEventListener("fullscreenchange", () => this.#full.setAttribute("aria-pressed", String(Boolean(document.fullscreenElement))), { signal });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.fullscreenElement && !document.querySelector("dialog[open]")) location.hash = back;
    }, { signal });
    this.#resizes.observe(this.#grid);
    coverPage(true);
    this.polling = poll(() => this.#load(), { everyMs: EVERY_MS, onError: showTrouble });
  }

  /** Leave the page. */
  close() {
    coverPage(false);
    this.#leaving.abort();
    this.#resizes.disconnect();
    this.polling.stop();
    this.#clear();
    if (document.fullscreenElement) document.exitFullscreen();
  }

  async #load() {
    if (!this.#pageSize) return; // not laid out yet
    const { states, paused } = FILTERS.get(this.#filter);
    const query = new URLSearchParams({ limit: this.#pageSize, search: this.#search, cursor: this.#cursors.at(-1) });
    for (const state of states.length ? states : UNFINISHED) query.append("state", state);
    if (paused !== undefined) query.set("paused", String(paused));
    const list = await api.get(`v1/streams?${query}`);
    if (!list.streams.length && this.#cursors.length > 1) {
      this.#cursors = [""]; // the last page was emptied
      this.polling.now();
      return;
    }
    this.#show(list);
  }

  #show({ streams, next_cursor, num_matching }) {
    this.#useSize(streams.length <= MAX_LARGE);
    const ids = new Set(streams.map((view) => view.id));
    for (const [id, tile] of this.#tiles) if (!ids.has(id)) this.#removeTile(id, tile);
    for (const [index, view] of streams.entries()) {
      const tile = this.#tileOf(view.id);
      if (this.#grid.children[index] !== tile.element) this.#grid.insertBefore(tile.element, this.#grid.children[index] ?? null);
      tile.update(view);
    }
    this.#nextCursor = next_cursor;
    this.#previous.disabled = this.#cursors.length === 1;
    this.#next.disabled = next_cursor === null;
    this.#previous.hidden = this.#next.hidden = this.#previous.disabled && this.#next.disabled;
    setText(this.#number, streams.length < num_matching ? `${count(streams.length)} of ${count(num_matching)} streams` : `${count(num_matching)} streams`);
    setText(this.#empty, streams.length ? "" : "No stream to show: none matches, or all have ended.");
    this.#layOut();
  }

  /** Few pictures are wanted in full size; the other size needs other previews. */
  #useSize(isLarge) {
    if (this.#isLarge === isLarge) return;
    this.#clear();
    this.#isLarge = isLarge;
    this.#hub = new PreviewHub(isLarge ? "full" : "small");
  }

  #tileOf(streamId) {
    if (!this.#tiles.has(streamId)) {
      const preview = new Preview(streamId, { isSmall: !this.#isLarge });
      const name = h("span", { class: "tile-name" }, streamId);
      const element = h("a", { class: "tile", href: linkToStream(streamId) }, preview.element, name);
      const update = (view) => {
        name.dataset.state = stateOf(view); // the picture has the word
        element.setAttribute("aria-label", `${streamId}, ${stateOf(view)}`);
        preview.note(pictureNote(view));
      };
      this.#tiles.set(streamId, { element, preview, update });
      this.#hub.watch(streamId, preview);
    }
    return this.#tiles.get(streamId);
  }

  #removeTile(streamId, { element, preview }) {
    this.#hub.unwatch(streamId);
    preview.close();
    element.remove();
    this.#tiles.delete(streamId);
  }

  #clear() {
    for (const [id, tile] of this.#tiles) this.#removeTile(id, tile);
    this.#hub?.close();
  }

  #layOut() {
    const room = { width: this.#grid.clientWidth, height: this.#grid.clientHeight };
    if (!room.width || !room.height) return;
    const { columns, rows } = gridFor(this.#tiles.size, room);
    this.#grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    this.#grid.style.gridTemplateRows = `repeat(${rows}, minmax(0, 1fr))`;
    const pageSize = fitting(room, MAX_STREAMS);
    if (pageSize === this.#pageSize) return;
    [this.#pageSize, this.#cursors] = [pageSize, [""]];
    this.polling?.now();
  }

  #turn(step) {
    if (step > 0) this.#cursors.push(this.#nextCursor);
    else this.#cursors.pop();
    this.polling.now();
  }

  async #toggleFull() {
    try {
      await (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
    } catch { /* the browser does not allow it; the wall fills the window */ }
  }
}
