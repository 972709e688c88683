/** A table of records that is asked for again and again: rows stay in place, and only what changed is written. */

import { h, setText } from "./dom.js";

/**
 * @typedef {{title: string, text?: (item: object) => string, cell?: (item: object) => {element: Element, update: (item: object) => void}}} Column
 * either a text, or an element that is made once for each row
 */
export class RecordTable {
  #rows = new Map(); // key → { element, updates }
  #body = h("tbody", { role: "rowgroup" });
  #columns;
  #keyOf;

  /** @param {string} label of the table @param {Column[]} columns @param {(item: object) => string} keyOf what tells the rows apart */
  constructor(label, columns, keyOf) {
    [this.#columns, this.#keyOf] = [columns, keyOf];
    // Narrow screens show rows as cards, and cards take the roles of a table away where they are not said.
    const head = h("tr", { role: "row" }, ...columns.map(({ title }) => h("th", { role: "columnheader", scope: "col" }, title)));
    this.element = h("table", { class: "records", role: "table", "aria-label": label, hidden: true }, h("thead", { role: "rowgroup" }, head), this.#body);
  }

  /** Show these records, in this order; without any the table is hidden. */
  update(items) {
    const keys = new Set(items.map(this.#keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    for (const [index, item] of items.entries()) {
      const row = this.#rowOf(item);
      if (this.#body.children[index] !== row.element) this.#body.insertBefore(row.element, this.#body.children[index] ?? null);
      for (const update of row.updates) update(item);
    }
    this.element.hidden = !items.length;
  }

  #rowOf(item) {
    const key = this.#keyOf(item);
    if (!this.#rows.has(key)) this.#rows.set(key, this.#newRow(item));
    return this.#rows.get(key);
  }

  #newRow(item) {
    const cells = this.#columns.map((column) => {
      const { element, update } = column.cell ? column.cell(item) : textCell(column.text);
      return { update, td: h("td", { role: "cell", "data-title": column.title }, element) };
    });
    return { element: h("tr", { role: "row" }, ...cells.map(({ td }) => td)), updates: cells.map(({ update }) => update) };
  }
}

function textCell(textOf) {
  const element = h("span", { class: "value" });
  return { element, update: (item) => setText(element, textOf(item)) };
}

/** A cell with a link that stays as it is. */
export const linkCell = (href, text) => ({ element: h("a", { href, class: "stream-name" }, text), update: () => {} });
