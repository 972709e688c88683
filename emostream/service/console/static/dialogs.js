/** Questions that must be answered first: a token, a new stream or job, other options, whether to remove something. */

import { api, streamPath } from "./api.js";
import { h } from "./dom.js";
import { ask, clearErrors, dialogWith, field, numberIn, showErrors } from "./form.js";

const KINDS = [["", "By the address"], ["live", "Live"], ["file", "File"]];

/** Ask for a token and use it from now on; resolves to whether there is one. */
export async function askForToken({ wasWrong = false } = {}) {
  const token = field("token", "Token", "One of service.tokens in the settings. It is stored until this tab is closed.", { type: "password" });
  if (wasWrong) token.fail("The service rejected the token.");
  const submit = async () => {
    const value = token.input.value.trim();
    token.fail(/^[\x21-\x7e]+$/.test(value) ? "" : "A token contains only letters, digits and punctuation, no spaces.");
    if (token.input.hasAttribute("aria-invalid")) return "";
    api.setToken(value);
    return "given";
  };
  return (await ask(dialogWith({ title: "This service requires a token", fields: [token.element], submit, label: "Use token" }))) !== "";
}

/**
 * Ask whether to remove something, and do it; resolves to whether it was done.
 * @param {string} name of what is removed
 * @param {{title: string, text: string, remove: () => Promise<void>}} what the question, what follows, and the deed
 */
export async function askToRemove(name, { title, text, remove }) {
  const submit = async (fail) => {
    try {
      await remove();
      return "removed";
    } catch (error) {
      if (error.status === 404) return "removed"; // deleted by another user
      fail(error.message);
      return "";
    }
  };
  const fields = [h("p", {}, h("strong", { class: "wrap" }, name)), h("p", {}, text)];
  return (await ask(dialogWith({ title, fields, submit, label: "Remove", isDangerous: true }))) !== "";
}

/** Ask for a new stream; resolves to its id, empty when it was left. */
export function askForStream() {
  const url = field("url", "Address", "rtsp://, http://, file:// and others; user and password in it are never shown again.", { type: "text", inputmode: "url", maxlength: "2048", autofocus: true });
  const id = field("id", "Name (optional)", "Letters, digits, dots, dashes and underscores. By default derived from the address.", { type: "text", maxlength: "64" });
  const kind = field("kind", "Kind", "Choose live for a camera that sends pictures over HTTP: a lost connection is then reopened.", { options: KINDS });
  const pace = field("target_fps", "Maximum frames per second (optional)", "Fewer frames need less CPU time.", { type: "text", inputmode: "decimal" });
  const fields = { url, id, kind, target_fps: pace };
  const byStatus = { 409: "id", 422: "url", 400: "url" };
  return askToCreate({ title: "Add a stream", fields, numbers: ["target_fps"], path: "v1/streams", byStatus });
}

/** Ask for a new job; resolves to its id, empty when it was left. */
export function askForJob() {
  const url = field("url", "Folder", "file:///… below the media root, or a prefix of an object store, for example s3://videos/uploads/.", { type: "text", inputmode: "url", maxlength: "2048", autofocus: true });
  const id = field("id", "Name", "Letters, digits, dots, dashes and underscores.", { type: "text", maxlength: "48" });
  const patterns = field("patterns", "File names (optional)", "Patterns with spaces between, for example *.mp4 *.mkv. By default all video files.", { type: "text" });
  const parallel = field("parallel", "Files at once (optional)", "2 by default.", { type: "text", inputmode: "numeric" });
  const pace = field("target_fps", "Maximum frames per second (optional)", "Fewer frames need less CPU time.", { type: "text", inputmode: "decimal" });
  const fields = { url, id, patterns, parallel, target_fps: pace };
  const byStatus = { 409: "id", 422: "url", 400: "url" };
  const change = (body) => (body.patterns ? { ...body, patterns: body.patterns.split(/\s+/) } : body);
  return askToCreate({ title: "Add a job", fields, numbers: ["parallel", "target_fps"], path: "v1/jobs", byStatus, required: ["url", "id"], change });
}

/** Ask with fields that are named as in the interface, and send those that are filled in. */
function askToCreate({ title, fields, numbers, path, byStatus, required = ["url"], change = (body) => body }) {
  const submit = async (fail) => {
    clearErrors(fields, fail);
    for (const name of required) if (!fields[name].input.value.trim()) fields[name].fail(name === "url" ? "Enter an address." : "Enter a name.");
    const body = {};
    for (const [name, each] of Object.entries(fields)) {
      const value = numbers.includes(name) ? numberIn(each) : each.input.value.trim();
      if (value !== null && value !== "") body[name] = value;
    }
    if (Object.values(fields).some(({ input }) => input.hasAttribute("aria-invalid"))) return "";
    try {
      return (await api.post(path, change(body))).id;
    } catch (error) {
      showErrors(error, fields, fail, byStatus);
      return "";
    }
  };
  return ask(dialogWith({ title, fields: Object.values(fields).map((each) => each.element), submit, label: "Add" }));
}

/** What can be changed of a stream: name in the interface, label, hint. */
const OPTIONS = [
  ["target_fps", "Maximum frames per second", "Empty: as many as the source has."],
  ["every", "Use one frame of", "1 uses every frame, 2 every second one."],
  ["max_frames", "Maximum number of frames", "The stream ends after them. Empty: no limit."],
  ["min_face_pixels", "Minimum face height in pixels", "Lower faces are left out. Empty: as in the settings."],
  ["min_score", "Minimum detection score", "0 to 1. Empty: as in the settings."],
  ["smoothing_seconds", "Smoothing time constant in seconds", "0 turns it off. Empty: as in the settings."],
  ["hold_seconds", "Minimum hold in seconds", "An emotion is kept at least so long. Empty: as in the settings."],
  ["switch_margin", "Switch margin", "Lead in probability, 0 to 1, with which another emotion takes over at once. Empty: as in the settings."],
  ["pixel_aspect", "Pixel aspect", "Width to height of a pixel, for example 64:45. A change reopens the source. Empty: as the source says.", "text"],
];

/** Ask for other options of a stream and send what changed; resolves to whether something did. */
export async function askToEdit(view) {
  const fields = {};
  for (const [name, label, hint, inputmode = "decimal"] of OPTIONS) {
    if (name in view) fields[name] = field(name, label, hint, { type: "text", inputmode, value: String(view[name] ?? "") });
  }
  const submit = async (fail) => {
    clearErrors(fields, fail);
    const body = {};
    for (const [name, each] of Object.entries(fields)) {
      if (each.input.value.trim() === each.input.defaultValue) continue;
      body[name] = name === "pixel_aspect" ? each.input.value.trim() || null : numberIn(each);
    }
    if (body.every === null) fields.every.fail("Enter a number; 1 uses every frame.");
    if (Object.values(fields).some(({ input }) => input.hasAttribute("aria-invalid"))) return "";
    if (!Object.keys(body).length) return "same";
    try {
      await api.patch(streamPath(view.id), body);
      return "changed";
    } catch (error) {
      showErrors(error, fields, fail);
      return "";
    }
  };
  const about = h("p", { class: "quiet wrap" }, `${view.url} (an address cannot be changed: remove the stream and add it again)`);
  const dialog = dialogWith({ title: `Edit ${view.id}`, fields: [about, h("div", { class: "fields" }, ...Object.values(fields).map((each) => each.element))], submit, label: "Save", isWide: true });
  return (await ask(dialog)) === "changed";
}
