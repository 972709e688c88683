/** What to say of the state of a stream, from its view in the interface. */

const FINAL = new Set(["ended", "failed"]);

/** Whether nothing follows. */
export const isFinal = (view) => FINAL.has(view.state);

/** The state that people see: a stream that was paused does not "run". */
export function stateOf(view) {
  return view.paused && ["running", "connecting"].includes(view.state) ? "paused" : view.state;
}

/** One sentence about it, where there is something to say. */
export function explanationOf(view) {
  if (stateOf(view) === "running") return "";
  if (stateOf(view) === "paused") return "paused; the source stays open";
  return view.detail || view.last_error;
}

/** What stands over a picture that does not move; empty while pictures come. */
export function pictureNote(view) {
  const state = stateOf(view);
  return { running: "", ended: "over", failed: "failed" }[state] ?? state;
}

/** The choice of the filter that shows everything. */
export const ALL = "All states";

/** Choices of the filter: label → states asked for, none for all, and whether paused ones. */
export const FILTERS = new Map([
  [ALL, { states: [] }],
  ["Running", { states: ["running"], paused: false }],
  ["Paused", { states: ["pending", "connecting", "running", "reconnecting"], paused: true }],
  ["Waiting", { states: ["pending", "connecting"] }],
  ["Trouble", { states: ["reconnecting", "failed"] }],
  ["Failed", { states: ["failed"] }],
  ["Ended", { states: ["ended"] }],
]);

/** States of streams that have pictures, or something to say. */
export const UNFINISHED = ["pending", "connecting", "running", "reconnecting", "failed"];
