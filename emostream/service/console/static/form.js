/** Forms in dialogs: labelled fields, each with room for what is wrong with it. */

import { button, h, setText } from "./dom.js";

/**
 * A labelled input, or a choice where there are options, with a hint, and room for what is wrong with it.
 * @returns {Field}
 * @typedef {{element: HTMLElement, input: HTMLInputElement, fail: (message: string) => void}} Field
 */
export function field(name, label, hint, { options, ...attributes } = {}) {
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

/** Forget all that was wrong. @param {Record<string, Field>} fields */
export function clearErrors(fields, fail) {
  for (const each of Object.values(fields)) each.fail("");
  fail("");
}

/**
 * Put each error of the service beside the field that it is about, and the others below the form.
 * @param {Error} error
 * @param {Record<string, Field>} fields by their names in the interface
 * @param {(message: string) => void} fail for what is about no field
 * @param {Record<number, string>} byStatus the field that a refusal without names is about, by HTTP status
 */
export function showErrors(error, fields, fail, byStatus = {}) {
  const others = [];
  for (const { where, message } of error.errors ?? []) {
    const named = fields[where.split(".")[1]];
    if (named) named.fail(message);
    else others.push(`${where}: ${message}`);
  }
  if (error.errors?.length) fail(others.join(" "));
  else (fields[byStatus[error.status]] ?? fields[error.message.split(" ")[0]] ?? { fail }).fail(error.message);
}

/**
 * The number in a field: null when it is empty, undefined when it holds no number, which the field then says.
 * @param {Field} item
 */
export function numberIn(item) {
  const text = item.input.value.trim().replace(",", ".");
  if (!text) return null;
  const value = Number(text);
  if (Number.isFinite(value)) return value;
  item.fail("Enter a number, for example 2.5.");
  return undefined;
}

/**
 * A dialog with fields. `submit` gets a function that shows an error below the form; it resolves to what the dialog is
 * closed with, or to an empty text to leave it open.
 */
export function dialogWith({ title, fields, submit, label, isDangerous = false, isWide = false }) {
  const error = h("p", { class: "field-error", role: "alert" });
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", class: isWide ? "is-wide" : "" });
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

/** Show a dialog until it is closed; resolves to what it was closed with, empty when it was left. */
export function ask(dialog) {
  document.body.append(dialog);
  dialog.showModal(); // keeps the focus inside, and gives it back
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    }, { once: true });
  });
}
