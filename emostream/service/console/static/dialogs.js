/** Questions that must be answered first: a token, a new stream, whether to remove one. */

import { api, ApiError } from "./api.js";
import { button, h, setText } from "./dom.js";

const KINDS = [["", "By the address"], ["live", "Live"], ["file", "File"]];

/** Show a dialog until it is closed; resolves to what it was closed with, empty when it was left. */
function ask(dialog) {
  document.body.append(dialog);
  dialog.showModal(); // keeps the focus inside, and gives it back
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    }, { once: true });
  });
}

/** A labelled input, or a choice where there are options, with a hint, and room for what is wrong with it. */
function field(name, label, hint, { options, ...attributes } = {}) {
  const id = `field-${name}`;
  const described = { id, name, "aria-describedby": `${id}-error ${id}-hint` };
  const input = options
    ? h("select", described, ...options.map(([value, text]) => h("option", { value }, text)))
    : h("input", { ...described, autocomplete: "off", spellcheck: "false", ...attributes });
  const error = h("span", { class: "field-error", id: `${id}-error`, role: "alert" });
  const element = h("div", { class: "field" }, h("label", { for: id }, label), input, error, h("span", { class: "hint", id: `${id}-hint` }, hint));
  return {
    element,
    input,
    fail(message) {
      setText(error, message);
      if (message) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

function dialogWith({ title, fields, submit, label, isDangerous = false }) {
  const error = h("p", { class: "field-error", role: "alert" });
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  const go = h("button", { type: "submit", class: isDangerous ? "danger" : "primary" }, label);
  const leave = button("Cancel", () => dialog.close(""));
  async function onSubmit(event) {
    event.preventDefault();
    go.disabled = true;
    const result = await submit((message) => setText(error, message));
    go.disabled = false;
    if (result) dialog.close(result);
    else dialog.querySelector("[aria-invalid]")?.focus();
  }
  dialog.append(h("form", { submit: onSubmit, novalidate: true }, h("h2", { id: "dialog-title" }, title), ...fields, error, h("div", { class: "dialog-buttons" }, leave, go)));
  return dialog;
}

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

/** Ask whether to remove a stream, and do it; resolves to whether it was done. */
export async function askToRemove(streamId, remove) {
  const text = h("p", {}, "The stream is stopped. Its published events are kept until they are trimmed.");
  const name = h("p", {}, h("strong", { class: "wrap" }, streamId));
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
  return (await ask(dialogWith({ title: "Remove this stream?", fields: [name, text], submit, label: "Remove", isDangerous: true }))) !== "";
}

/** Ask for a new stream; resolves to its id, empty when it was left. */
export function askForStream() {
  const url = field("url", "Address", "rtsp://, http://, file:// and others; user and password in it are never shown again.", { type: "text", inputmode: "url", maxlength: "2048", autofocus: true });
  const id = field("id", "Name (optional)", "Letters, digits, dots, dashes and underscores. By default derived from the address.", { type: "text", maxlength: "64" });
  const kind = field("kind", "Kind", "Choose live for a camera that sends pictures over HTTP: a lost connection is then reopened.", { options: KINDS });
  const pace = field("target_fps", "Maximum frames per second (optional)", "Fewer frames need less CPU time.", { type: "number", min: "0.1", max: "1000", step: "any" });
  const fields = { url, id, kind, target_fps: pace };
  const submit = async (fail) => {
    for (const each of Object.values(fields)) each.fail("");
    fail("");
    if (!url.input.value.trim()) {
      url.fail("Enter an address.");
      return "";
    }
    try {
      return (await api.post("v1/streams", wishOf(fields))).id;
    } catch (error) {
      showError(error, fields, fail);
      return "";
    }
  };
  return ask(dialogWith({ title: "Add a stream", fields: Object.values(fields).map((each) => each.element), submit, label: "Add" }));
}

function wishOf({ url, id, kind, target_fps }) {
  return {
    url: url.input.value.trim(),
    ...(id.input.value.trim() && { id: id.input.value.trim() }),
    ...(kind.input.value && { kind: kind.input.value }),
    ...(target_fps.input.value && { target_fps: Number(target_fps.input.value) }),
  };
}

/** Put each error of the service beside the field that it is about. */
function showError(error, fields, fail) {
  const known = error instanceof ApiError ? error.errors.filter(({ where }) => fields[where.split(".")[1]]) : [];
  for (const { where, message } of known) fields[where.split(".")[1]].fail(message);
  if (known.length) return;
  if (error.status === 409) fields.id.fail(error.message);
  else if (error.status === 422 || error.status === 400) fields.url.fail(error.message);
  else fail(error.message);
}
