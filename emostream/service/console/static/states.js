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

/** Choices of the filter: label → states asked for. */
export const FILTERS = new Map([
  ["All states", []],
  ["Running", ["running"]],
  ["Trouble", ["reconnecting", "failed"]],
  ["Waiting", ["pending", "connecting"]],
  ["Over", ["ended", "failed"]],
]);
