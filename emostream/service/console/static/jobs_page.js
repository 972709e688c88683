/** All jobs: batches of files with their progress. */

import { api, jobPath } from "./api.js";
import { askForJob, askToRemove } from "./dialogs.js";
import { button, h, setText } from "./dom.js";
import { count, percent } from "./format.js";
import { announce, showTrouble } from "./messages.js";
import { poll } from "./poll.js";
import { RecordTable, linkCell } from "./record_table.js";
import { linkToJob } from "./routes.js";

const EVERY_MS = 2000;
const MAX_SHOWN = 200;

/** What happened to the files of a job, in words. */
export function progressText({ num_files, num_waiting, num_active, num_ended, num_failed, done }) {
  const failed = num_failed ? `, ${count(num_failed)} failed` : "";
  if (done) return `all ${count(num_files)} done${failed}`;
  return `${count(num_ended + num_failed)} of ${count(num_files)} done${failed}, ${count(num_active)} running, ${count(num_waiting)} waiting`;
}

/** A bar with the share of files that are done, and what happened to them in words. */
export function progressCell() {
  const bar = h("progress", { max: "1", "aria-label": "Files that are done" });
  const text = h("span", { class: "quiet" });
  const update = (job) => {
    const share = job.num_files ? (job.num_ended + job.num_failed) / job.num_files : 1;
    bar.value = share;
    setText(bar, percent(share));
    setText(text, progressText(job));
  };
  return { element: h("div", { class: "progress" }, bar, text), update };
}

/** Ask whether to remove a job, and do it; resolves to whether it was done. */
export const askToRemoveJob = (jobId) => askToRemove(jobId, {
  title: "Remove this job?",
  text: "Its running files are stopped, and the list of its results is deleted. Published events are kept until they are trimmed.",
  remove: () => api.remove(jobPath(jobId)),
});

export class JobsPage {
  title = "Jobs";
  #jobs = [];
  #wanted = "";
  #number = h("p", { class: "quiet", role: "status" });
  #empty = h("div", { class: "empty" }, "Loading…");
  #more = h("p", { class: "quiet" });
  #table = new RecordTable("Jobs", [
    { title: "Job", cell: (job) => linkCell(linkToJob(job.id), job.id) },
    { title: "Folder", text: (job) => job.url },
    { title: "Progress", cell: progressCell },
    { title: "Frames", text: (job) => count(job.num_frames) },
    { title: "Faces", text: (job) => count(job.num_faces) },
    { title: "Actions", cell: (job) => ({ element: button("Remove", () => this.#remove(job.id), { "aria-label": `Remove ${job.id}` }), update: () => {} }) },
  ], (job) => job.id);

  constructor() {
    const search = h("input", { type: "search", id: "job-search", placeholder: "Name or folder…", input: () => { this.#wanted = search.value.trim().toLowerCase(); this.#show(); } });
    const bar = h("div", { class: "toolbar" },
      h("h1", { tabindex: "-1" }, "Jobs"), this.#number,
      h("label", { class: "visually-hidden", for: "job-search" }, "Search"), search,
      button("Add job", () => this.#add(), { class: "primary" }));
    this.element = h("div", {}, bar, this.#table.element, this.#more, this.#empty);
    this.polling = poll(() => this.#load(), { everyMs: EVERY_MS, onError: showTrouble });
  }

  /** Leave the page. */
  close() {
    this.polling.stop();
  }

  async #load() {
    this.#jobs = await api.get("v1/jobs");
    this.#show();
  }

  #show() {
    const found = this.#jobs.filter(({ id, url }) => `${id}\n${url}`.toLowerCase().includes(this.#wanted));
    this.#table.update(found.slice(0, MAX_SHOWN));
    setText(this.#number, count(found.length));
    setText(this.#more, found.length > MAX_SHOWN ? `and ${count(found.length - MAX_SHOWN)} more; search for them by name` : "");
    this.#empty.hidden = found.length > 0;
    setText(this.#empty, this.#wanted ? "No job matches the search." : "No jobs yet. A job processes all video files of a folder.");
  }

  async #add() {
    const id = await askForJob();
    if (!id) return;
    announce(`${id} is added`);
    this.polling.now();
  }

  async #remove(jobId) {
    if (!(await askToRemoveJob(jobId))) return;
    announce(`${jobId} is removed`);
    this.polling.now();
  }
}
