/** Pause, go on, remove: the same buttons in the list and on the page of a stream. */

import { api, streamPath } from "./api.js";
import { askToRemove } from "./dialogs.js";
import { button, setText } from "./dom.js";
import { announce, showFailure } from "./messages.js";
import { isFinal } from "./states.js";

export class StreamActions {
  #view = null;
  #pause = button("Pause", () => this.#togglePause());
  #remove = button("Remove", () => this.#askToRemove());

  /** @param {string} streamId @param {{onChange: () => void, onRemoved: () => void}} callbacks */
  constructor(streamId, { onChange, onRemoved }) {
    this.streamId = streamId;
    this.onChange = onChange;
    this.onRemoved = onRemoved;
    this.elements = [this.#pause, this.#remove];
    this.#remove.setAttribute("aria-label", `Remove ${streamId}`);
  }

  /** Fit the buttons to the state of the stream. */
  update(view) {
    this.#view = view;
    const label = view.paused ? "Resume" : "Pause";
    setText(this.#pause, label);
    this.#pause.setAttribute("aria-label", `${label} ${this.streamId}`);
    this.#pause.disabled = isFinal(view);
  }

  async #togglePause() {
    const paused = !this.#view.paused;
    try {
      this.update(await api.patch(streamPath(this.streamId), { paused }));
      announce(`${this.streamId} ${paused ? "is paused" : "goes on"}`);
      this.onChange();
    } catch (error) {
      showFailure(error);
    }
  }

  async #askToRemove() {
    if (!(await askToRemove(this.streamId, () => api.remove(streamPath(this.streamId))))) return;
    announce(`${this.streamId} is removed`);
    this.onRemoved();
  }
}
