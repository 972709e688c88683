/** All streams: found by name and state, page by page, each with its picture while it is seen. */

import { api } from "./api.js";
import { askForStream } from "./dialogs.js";
import { button, h, setText } from "./dom.js";
import { count } from "./format.js";
import { announce, showTrouble } from "./messages.js";
import { poll } from "./poll.js";
import { PreviewHub } from "./preview_hub.js";
import { linkWith } from "./routes.js";
import { ALL, FILTERS } from "./states.js";
import { COLUMNS, StreamRow } from "./stream_row.js";

const EVERY_MS = 1500;
const PAGE_SIZE = 24;
const NARROW = matchMedia("(max-width: 900px)");

/** Keeps its state while another page is shown. */
const chosen = { search: "", filter: ALL, cursors: [""], layout: "table" };

export class StreamsPage {
  title = "Streams";
  #rows = new Map();
  #hub = new PreviewHub("small");
  #body = h("tbody", { role: "rowgroup" });
  #number = h("p", { class: "quiet", role: "status" });
  #empty = h("div", { class: "empty" }, "Loading…");
  #previous = button("Previous", () => this.#turn(-1));
  #next = button("Next", () => this.#turn(1));
  #cards = button("Cards", () => this.#toggleCards());
  #wall = h("a", { class: "button" }, "Wall");
  #nextCursor = null;
  #leaving = new AbortController();

  /** @param {URLSearchParams} query what to search for, where the address says so: `search` and `filter` */
  constructor(query) {
    if (query.size) Object.assign(chosen, { search: query.get("search") ?? "", filter: FILTERS.has(query.get("filter")) ? query.get("filter") : ALL, cursors: [""] });
    const head = h("tr", { role: "row" }, ...COLUMNS.map((title) => h("th", { role: "columnheader", scope: "col" }, title)));
    this.table = h("table", { class: "streams", role: "table", "aria-label": "Streams", hidden: true }, h("thead", { role: "rowgroup" }, head), this.#body);
    this.element = h("div", {}, this.#toolbar(), this.table, this.#empty, h("nav", { class: "pages", "aria-label": "Pages", hidden: true }, this.#previous, this.#next));
    NARROW.addEventListener("change", () => this.#layOut(), { signal: this.#leaving.signal });
    this.#layOut();
    this.#tellAddress();
    this.polling = poll(() => this.#load(), { everyMs: EVERY_MS, onError: showTrouble });
  }

  /** Leave the page. */
  close() {
    this.#leaving.abort();
    this.polling.stop();
    for (const row of this.#rows.values()) row.close();
    this.#hub.close();
  }

  #toolbar() {
    const search = h("input", { type: "search", id: "search", placeholder: "Name or address…", maxlength: "200", value: chosen.search, input: () => this.#choose({ search: search.value.trim() }) });
    const options = [...FILTERS.keys()].map((label) => h("option", { selected: label === chosen.filter }, label));
    const filter = h("select", { id: "filter", change: () => this.#choose({ filter: filter.value }) }, ...options);
    return h("div", { class: "toolbar" },
      h("h1", { tabindex: "-1" }, "Streams"), this.#number,
      h("label", { class: "visually-hidden", for: "search" }, "Search"), search,
      h("label", { class: "visually-hidden", for: "filter" }, "State"), filter,
      this.#cards, this.#wall,
      button("Add stream", () => this.#add(), { class: "primary" }));
  }

  async #load() {
    const { states, paused } = FILTERS.get(chosen.filter);
    const query = new URLSearchParams({ limit: String(PAGE_SIZE), search: chosen.search, cursor: chosen.cursors.at(-1) });
    for (const state of states) query.append("state", state);
    if (paused !== undefined) query.set("paused", String(paused));
    const list = await api.get(`v1/streams?${query}`);
    if (!list.streams.length && chosen.cursors.length > 1) {
      chosen.cursors.pop(); // the last page was emptied
      this.polling.now();
      return;
    }
    this.#show(list);
  }

  #show({ streams, next_cursor, num_matching }) {
    const ids = new Set(streams.map((view) => view.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.close();
      this.#rows.delete(id);
    }
    for (const [index, view] of streams.entries()) {
      const row = this.#rowOf(view);
      if (this.#body.children[index] !== row.element) this.#body.insertBefore(row.element, this.#body.children[index] ?? null);
      row.update(view);
    }
    this.#nextCursor = next_cursor;
    const first = (chosen.cursors.length - 1) * PAGE_SIZE;
    const range = num_matching > streams.length ? `${count(first + 1)}–${count(first + streams.length)} of ` : "";
    setText(this.#number, `${range}${count(num_matching)}`);
    this.#previous.disabled = chosen.cursors.length === 1;
    this.#next.disabled = next_cursor === null;
    this.#previous.parentElement.hidden = this.#previous.disabled && this.#next.disabled;
    this.table.hidden = !streams.length;
    this.#showEmpty(streams.length > 0);
  }

  #rowOf(view) {
    if (!this.#rows.has(view.id)) this.#rows.set(view.id, new StreamRow(view, { hub: this.#hub, onChange: () => this.polling.now() }));
    return this.#rows.get(view.id);
  }

  #showEmpty(hasStreams) {
    this.#empty.hidden = hasStreams;
    const isFiltered = chosen.search || chosen.filter !== ALL;
    setText(this.#empty, isFiltered ? "No stream matches the search." : "No streams yet. Add a camera or a video by its address.");
  }

  #choose(change) {
    Object.assign(chosen, change, { cursors: [""] });
    this.#tellAddress();
    this.polling.now();
  }

  /** The search stands in the address, so that a link to it can be kept and sent; also for the wall. */
  #tellAddress() {
    const query = { search: chosen.search, filter: chosen.filter === ALL ? "" : chosen.filter };
    history.replaceState(null, "", linkWith("", query));
    this.#wall.href = linkWith("wall", query);
  }

  #turn(step) {
    if (step > 0) chosen.cursors.push(this.#nextCursor);
    else chosen.cursors.pop();
    this.polling.now();
    window.scrollTo(0, 0);
  }

  #toggleCards() {
    chosen.layout = chosen.layout === "wall" ? "table" : "wall";
    this.#layOut();
  }

  /** On narrow screens there is no room for columns. */
  #layOut() {
    this.table.dataset.layout = NARROW.matches ? "wall" : chosen.layout;
    this.#cards.hidden = NARROW.matches;
    this.#cards.setAttribute("aria-pressed", String(chosen.layout === "wall"));
  }

  async #add() {
    const id = await askForStream();
    if (!id) return;
    announce(`${id} is added`);
    this.polling.now();
  }
}
