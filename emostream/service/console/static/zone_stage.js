/** Zones drawn over a picture; corners of the chosen one are set, moved and removed by mouse, finger or keyboard. */

import { h, setText, svg } from "./dom.js";
import { percent } from "./format.js";
import { cornerAt, withCorner, withMoved, withoutCorner } from "./zone_shapes.js";

const REACH = 10; // CSS pixels: a click so near to a line sets a corner into it
const [STEP, LARGE_STEP] = [0.01, 0.05]; // of an arrow key, as a fraction of the picture
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const placeInWords = ([x, y]) => `${percent(x)} from the left, ${percent(y)} from the top`;

export class ZoneStage {
  #zones = [];
  #chosen = -1;
  #handles = [];
  #cross = cornerAt(0.5, 0.5);
  #shapes = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  #names = h("div", { "aria-hidden": "true" });
  #crosshair = h("span", { class: "crosshair", "aria-hidden": "true" });
  #news = h("p", { class: "visually-hidden", role: "status" });

  /** @param {{describedBy: string, onChange: (polygon: Array) => void}} options `onChange` gets the new polygon of the chosen zone */
  constructor({ describedBy, onChange }) {
    this.onChange = onChange;
    this.element = h("div", {
      class: "zone-stage", role: "application", tabindex: "0", "aria-label": "Zones on the picture", "aria-describedby": describedBy,
      click: (event) => this.#onClick(event), keydown: (event) => this.#onKey(event),
    }, this.#shapes, this.#names, this.#crosshair, this.#news);
    this.#moveCross(this.#cross);
  }

  /** Show these zones; the corners of the chosen one can be moved. @param {Array} zones @param {number} chosen -1 for none */
  update(zones, chosen) {
    [this.#zones, this.#chosen] = [zones, chosen];
    this.#shapes.replaceChildren(...zones.map(({ polygon }, index) => svg("polygon", { points: polygon.map((corner) => corner.join(",")).join(" "), class: index === chosen ? "is-chosen" : "" })));
    this.#names.replaceChildren(...zones.filter(({ polygon }) => polygon.length).map(({ name, polygon }) => placed(h("span", { class: "zone-name" }, name), polygon[0])));
    const corners = zones[chosen]?.polygon ?? [];
    while (this.#handles.length > corners.length) this.#handles.pop().remove();
    while (this.#handles.length < corners.length) this.#handles.push(this.element.appendChild(this.#newHandle(this.#handles.length)));
    for (const [index, corner] of corners.entries()) {
      placed(this.#handles[index], corner);
      this.#handles[index].setAttribute("aria-label", `Corner ${index + 1} of ${zones[chosen].name || "the zone"}: ${placeInWords(corner)}`);
    }
  }

  get #polygon() { return this.#zones[this.#chosen]?.polygon ?? []; }

  /** Size of the picture, in CSS pixels. */
  get #size() { return { width: this.element.clientWidth, height: this.element.clientHeight }; }

  #tell(text) {
    setText(this.#news, text);
  }

  #onClick(event) {
    if (event.detail > 1 || event.target.closest(".corner")) return; // the second click of a double one
    const box = this.element.getBoundingClientRect();
    this.#add(cornerAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
  }

  #add(corner) {
    const { polygon, index } = withCorner(this.#polygon, corner, { ...this.#size, reach: REACH });
    this.onChange(polygon);
    this.#tell(`Corner ${index + 1} set, ${placeInWords(corner)}`);
  }

  #remove(index) {
    if (!this.#polygon.length) return;
    const isHandle = document.activeElement?.classList.contains("corner");
    this.onChange(withoutCorner(this.#polygon, index));
    if (isHandle) (this.#handles[Math.min(index, this.#handles.length - 1)] ?? this.element).focus();
    this.#tell(`Corner ${index + 1} removed; ${this.#polygon.length} left`);
  }

  #onKey(event) {
    if (event.target !== this.element) return;
    if (event.key in ARROWS) this.#moveCross(moved(this.#cross, event));
    else if (event.key === "Enter" || event.key === " ") this.#add(this.#cross);
    else if (event.key === "Backspace" || event.key === "Delete") this.#remove(this.#polygon.length - 1);
    else return;
    event.preventDefault();
  }

  #moveCross(corner) {
    this.#cross = corner;
    placed(this.#crosshair, corner);
    this.#tell(placeInWords(corner));
  }

  #newHandle(index) {
    const move = (corner) => this.onChange(withMoved(this.#polygon, index, corner));
    const handle = h("button", {
      type: "button", class: "corner",
      pointerdown: (event) => handle.setPointerCapture(event.pointerId),
      pointermove: (event) => {
        if (!handle.hasPointerCapture(event.pointerId)) return;
        const box = this.element.getBoundingClientRect();
        move(cornerAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
      },
      keydown: (event) => {
        if (event.key in ARROWS) move(moved(this.#polygon[index], event));
        else if (event.key === "Backspace" || event.key === "Delete") this.#remove(index);
        else return;
        event.preventDefault();
        if (event.key in ARROWS) this.#tell(placeInWords(this.#polygon[index]));
      },
    });
    return handle;
  }
}

/** Where an arrow key moves a corner to; with Shift it is farther. */
function moved([x, y], { key, shiftKey }) {
  const step = shiftKey ? LARGE_STEP : STEP;
  return cornerAt(x + ARROWS[key][0] * step, y + ARROWS[key][1] * step);
}

function placed(element, [x, y]) {
  element.style.left = `${100 * x}%`;
  element.style.top = `${100 * y}%`;
  return element;
}
