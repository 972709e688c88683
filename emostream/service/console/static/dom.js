/**
 * Elements from values. Text is always a text node: whatever a camera, zone or emotion is called, it never becomes markup.
 */

/**
 * An element. Attributes that are functions listen to the event of that name, booleans are there or not, `undefined` is left out.
 * @example h("button", { type: "button", disabled: false, click: () => save() }, "Save")
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** An element of a drawing. @param {string} tag @param {Record<string, string | number>} attributes */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Change the text only where it is another one, so that readers of the screen are not told the same again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button of a form or tool bar. */
export function button(label, onClick, attributes = {}) {
  return h("button", { type: "button", click: onClick, ...attributes }, label);
}

/** A canvas as large as it is shown, in pixels of the screen; the context draws in CSS pixels. */
export function fittedContext(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== columns || canvas.height !== rows) [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
