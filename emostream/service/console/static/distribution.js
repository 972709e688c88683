/** Shares of the emotions over the last minutes, as bars with their figures. */

import { h, setText } from "./dom.js";
import { percent, shortened } from "./format.js";
import { colourOf } from "./palette.js";

export class Distribution {
  #list = h("ul", { class: "shares" });
  #empty = h("p", { class: "quiet" }, "No faces in this time.");

  constructor() {
    this.element = h("div", {}, this.#empty, this.#list);
  }

  /** @param {Array<[string, number]>} shares emotion and share, the largest first */
  update(shares) {
    this.#empty.hidden = shares.length > 0;
    while (this.#list.children.length > shares.length) this.#list.lastChild.remove();
    for (const [index, [emotion, share]] of shares.entries()) {
      const row = this.#list.children[index] ?? this.#list.appendChild(newRow());
      const [name, bar, value] = row.children;
      setText(name, shortened(emotion, 20));
      setText(value, percent(share));
      bar.firstChild.style.width = `${100 * share}%`;
      bar.firstChild.style.backgroundColor = colourOf(emotion);
    }
  }
}

function newRow() {
  const bar = h("span", { class: "share-bar", "aria-hidden": "true" }, h("span"));
  return h("li", {}, h("span", { class: "share-name" }), bar, h("span", { class: "share-value" }));
}
