/** One stream in the list: picture, state, figures, buttons. */

import { h, setText } from "./dom.js";
import { count, milliseconds, rate } from "./format.js";
import { Preview } from "./preview.js";
import { linkToStream } from "./routes.js";
import { StreamActions } from "./stream_actions.js";
import { explanationOf, isFinal, pictureNote, stateOf } from "./states.js";

/** Titles of the columns, and the figure in each. */
const FIGURES = [
  ["Frames/s", (view) => rate(view.measured_fps)],
  ["Lag", (view) => milliseconds(view.lag_ms)],
  ["Latency", (view) => milliseconds(view.latency_ms)],
  ["Dropped", (view) => count(view.num_dropped)],
  ["Owner", (view) => view.worker_id ?? "–"],
];

export const COLUMNS = ["Picture", "Stream", "State", ...FIGURES.map(([title]) => title), "Actions"];

export class StreamRow {
  #state = h("span", { class: "state" });
  #detail = h("span", { class: "detail" });
  #url = h("span", { class: "url" });
  #figures = FIGURES.map(() => h("span", { class: "figure" }));
  #actions;
  #seen;

  /** @param {object} view of the stream @param {{hub: object, onChange: () => void}} page what the rows share */
  constructor(view, { hub, onChange }) {
    this.streamId = view.id;
    this.#actions = new StreamActions(view.id, { onChange, onRemoved: onChange });
    this.preview = new Preview(view.id, { isSmall: true });
    const name = h("a", { href: linkToStream(view.id), class: "stream-name" }, view.id);
    const cells = [[this.preview.element], [name, this.#url, this.#detail], [this.#state], ...this.#figures.map((figure) => [figure]), this.#actions.elements];
    // Narrow screens show rows as cards, and cards take the roles of a table away where they are not said.
    this.element = h("tr", { role: "row" }, ...cells.map((cell, index) => h("td", { role: "cell", "data-title": COLUMNS[index], class: `cell-${COLUMNS[index].toLowerCase().replace("/", "-")}` }, ...cell)));
    this.#seen = new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting && !this.isOver) hub.watch(view.id, this.preview);
      else hub.unwatch(view.id);
    });
    this.close = () => {
      this.#seen.disconnect();
      hub.unwatch(view.id);
      this.preview.close();
      this.element.remove();
    };
    this.update(view);
    this.#seen.observe(this.preview.element);
  }

  /** Show how the stream is doing now. */
  update(view) {
    this.isOver = isFinal(view);
    const state = stateOf(view);
    setText(this.#state, state);
    this.#state.dataset.state = state;
    setText(this.#detail, explanationOf(view));
    setText(this.#url, view.url);
    for (const [index, [, figureOf]] of FIGURES.entries()) setText(this.#figures[index], figureOf(view));
    this.preview.note(pictureNote(view));
    this.#actions.update(view);
  }
}
