/** Pause, go on, try again, remove: the same buttons in the list and on the page of a stream. */

import { api, streamPath } from "./api.js";
import { askToRemove } from "./dialogs.js";
import { button, setText } from "./dom.js";
import { announce, showFailure } from "./messages.js";

export class StreamActions {
  #view = null;
  #pause = button("Pause", () => this.#act());
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
    const label = view.state === "failed" ? "Retry" : view.paused ? "Resume" : "Pause";
    setText(this.#pause, label);
    this.#pause.setAttribute("aria-label", `${label} ${this.streamId}`);
    this.#pause.disabled = view.state === "ended";
  }

  #act() {
    return this.#view.state === "failed" ? this.#retry() : this.#togglePause();
  }

  async #retry() {
    try {
      this.update(await api.post(`${streamPath(this.streamId)}/retry`));
      announce(`${this.streamId} is tried again`);
      this.onChange();
    } catch (error) {
      showFailure(error);
    }
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
    const question = {
      title: "Remove this stream?",
      text: "The stream is stopped. Its published events are kept until they are trimmed.",
      remove: () => api.remove(streamPath(this.streamId)),
    };
    if (!(await askToRemove(this.streamId, question))) return;
    announce(`${this.streamId} is removed`);
    this.onRemoved();
  }
}
