/** One job: its progress, and what became of each file. */

import { api, jobPath } from "./api.js";
import { button, h, setText } from "./dom.js";
import { count } from "./format.js";
import { askToRemoveJob, progressCell } from "./jobs_page.js";
import { announce, showTrouble } from "./messages.js";
import { poll } from "./poll.js";
import { RecordTable } from "./record_table.js";
import { linkToStream } from "./routes.js";

const EVERY_MS = 2000;
const PAGE_SIZE = 50;

export class JobPage {
  #progress = progressCell();
  #url = h("p", { class: "quiet wrap" });
  #empty = h("div", { class: "empty" }, "Loading…");
  #starts = [0]; // of the pages up to this one
  #nextStart = null;
  #folder = "";
  #previous = button("Previous", () => this.#turn(-1));
  #next = button("Next", () => this.#turn(1));
  #remove = button("Remove", () => this.#askToRemove());
  #table = new RecordTable("Finished files", [
    { title: "File", cell: (file) => fileCell(file, this.#folder) },
    { title: "State", cell: stateCell },
    { title: "Frames", text: (file) => count(file.num_frames) },
    { title: "Faces", text: (file) => count(file.num_faces) },
    { title: "Detail", text: (file) => file.detail },
  ], (file) => `${file.stream_id} ${file.url}`);

  /** @param {string} jobId */
  constructor(jobId) {
    this.title = jobId;
    this.jobId = jobId;
    this.#remove.setAttribute("aria-label", `Remove ${jobId}`);
    const head = h("div", { class: "toolbar" }, h("a", { href: "#/jobs", class: "back" }, "All jobs"), h("h1", { tabindex: "-1", class: "wrap" }, jobId), this.#remove);
    const about = h("section", { class: "panel" }, this.#url, this.#progress.element);
    const pages = h("nav", { class: "pages", "aria-label": "Pages", hidden: true }, this.#previous, this.#next);
    this.element = h("div", { class: "job-page" }, head, about, h("h2", {}, "Finished files"), this.#table.element, this.#empty, pages);
    this.polling = poll(() => this.#load(), { everyMs: EVERY_MS, onError: (error) => this.#onError(error) });
  }

  /** Leave the page. */
  close() {
    this.polling.stop();
  }

  async #load() {
    const query = new URLSearchParams({ start: this.#starts.at(-1), limit: PAGE_SIZE });
    const { job, files, next_start } = await api.get(`${jobPath(this.jobId)}/files?${query}`);
    this.#progress.update(job);
    this.#folder = job.url;
    setText(this.#url, job.url);
    this.#table.update(files);
    this.#nextStart = next_start;
    this.#empty.hidden = files.length > 0;
    setText(this.#empty, job.done ? "The job has no files." : "No file is finished yet.");
    this.#previous.disabled = this.#starts.length === 1;
    this.#next.disabled = next_start === null;
    this.#previous.parentElement.hidden = this.#previous.disabled && this.#next.disabled;
  }

  #turn(step) {
    if (step > 0) this.#starts.push(this.#nextStart);
    else this.#starts.pop();
    this.polling.now();
    window.scrollTo(0, 0);
  }

  #onError(error) {
    if (error?.status !== 404) {
      showTrouble(error);
      return;
    }
    this.polling.stop();
    this.#table.update([]);
    this.#remove.disabled = true;
    this.#empty.hidden = false;
    setText(this.#empty, "There is no such job; it was deleted or never added.");
  }

  async #askToRemove() {
    if (!(await askToRemoveJob(this.jobId))) return;
    announce(`${this.jobId} is removed`);
    location.hash = "#/jobs";
  }
}

/** The file's name in the folder of the job; it leads to its stream, which keeps its figures and events. */
function fileCell({ stream_id, url, state }, folder) {
  const name = url.startsWith(folder) ? url.slice(folder.length).replace(/^\/+/, "") : url;
  const element = state ? h("a", { href: linkToStream(stream_id), class: "stream-name", title: url }, name || url) : h("span", { class: "value", title: url }, name || url);
  return { element, update: () => {} };
}

function stateCell() {
  const element = h("span", { class: "state" });
  return {
    element,
    update({ state }) {
      setText(element, state ?? "removed");
      element.dataset.state = state ?? "ended";
    },
  };
}
