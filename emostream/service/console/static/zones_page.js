/** The zones of a stream, edited on its picture: click corners, name, save. */

import { api, streamPath } from "./api.js";
import { button, h, setText } from "./dom.js";
import { announce, showTrouble } from "./messages.js";
import { poll } from "./poll.js";
import { Preview } from "./preview.js";
import { PreviewHub } from "./preview_hub.js";
import { linkToStream } from "./routes.js";
import { pictureNote } from "./states.js";
import { freeName, placeOf, problemsOf } from "./zone_shapes.js";
import { ZoneStage } from "./zone_stage.js";

const EVERY_MS = 2000;
const HIGHEST = "72vh"; // of the picture
const HELP = "Click the corners of a zone on the picture; a click on its line sets a corner there, and corners can be dragged. With the keyboard: arrow keys move the cross or a corner (with Shift farther), Enter sets a corner, Backspace removes one.";

/** Stream id → zones that are not saved yet; they are kept when the page is left. */
const drafts = new Map();

window.addEventListener("beforeunload", (event) => drafts.size && event.preventDefault());

export class ZonesPage {
  #zones = [];
  #saved = null; // as the service has them; null before they are known
  #chosen = -1;
  #rows = [];
  #hub = new PreviewHub("full");
  #list = h("ol", { class: "zones" });
  #none = h("p", { class: "quiet" }, "Loading…");
  #error = h("p", { class: "field-error", role: "alert" });
  #add = button("Add zone", () => this.#addZone(), { disabled: true });
  #discard = button("Discard changes", () => this.#discardChanges(), { hidden: true });
  #save = button("Save", () => this.#saveZones(), { class: "primary", disabled: true });
  #stage = new ZoneStage({ describedBy: "zone-help", onChange: (polygon) => this.#onPolygon(polygon) });
  #picture;

  /** @param {string} streamId */
  constructor(streamId) {
    this.title = `Zones of ${streamId}`;
    this.streamId = streamId;
    this.preview = new Preview(streamId, { isSmall: false });
    this.preview.onShape = (width, height) => this.#fit(width, height);
    this.#picture = h("div", { class: "zone-picture" }, this.preview.element, this.#stage.element);
    this.#fit(16, 9);
    this.element = h("div", { class: "zones-page" },
      h("div", { class: "toolbar" }, h("a", { href: linkToStream(streamId), class: "back" }, streamId), h("h1", { tabindex: "-1" }, "Zones"), this.#save, this.#discard),
      this.#error,
      h("div", { class: "column" }, this.#picture, h("p", { class: "quiet", id: "zone-help" }, HELP)),
      h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Zones"), this.#add), this.#none, this.#list, h("p", { class: "quiet" }, "Faces carry the names of the zones in which their middle is. Saving reopens the source.")));
    this.#hub.watch(streamId, this.preview);
    this.polling = poll(() => this.#load(), { everyMs: EVERY_MS, onError: (error) => this.#onError(error) });
  }

  /** Leave the page; what was not saved is there when it is opened again. */
  close() {
    this.polling.stop();
    this.#hub.close();
    this.preview.close();
  }

  get #isChanged() { return this.#saved !== null && JSON.stringify(this.#zones) !== this.#saved; }

  async #load() {
    const view = await api.get(streamPath(this.streamId));
    this.preview.note(pictureNote(view));
    const given = JSON.stringify(view.zones);
    if (given === this.#saved) return;
    const isFirst = this.#saved === null;
    const isTaken = isFirst ? !drafts.has(this.streamId) : !this.#isChanged;
    this.#saved = given;
    this.#use(isTaken ? view.zones : drafts.get(this.streamId) ?? this.#zones, isTaken || isFirst ? 0 : this.#chosen);
  }

  #onError(error) {
    if (error?.status !== 404) {
      showTrouble(error);
      return;
    }
    this.polling.stop();
    this.preview.note("removed");
    setText(this.#error, "There is no such stream; it was deleted or never added.");
    for (const each of [this.#add, this.#save, this.#discard]) each.disabled = true;
  }

  /** The stage covers the picture exactly, of whatever shape that is. */
  #fit(width, height) {
    this.#picture.style.aspectRatio = `${width} / ${height}`;
    this.#picture.style.maxWidth = `calc(${HIGHEST} * ${width / height})`;
  }

  /** Show these zones from now on. */
  #use(zones, chosen = this.#chosen) {
    this.#zones = zones;
    this.#chosen = Math.min(chosen, zones.length - 1);
    if (this.#isChanged) drafts.set(this.streamId, zones);
    else drafts.delete(this.streamId);
    this.#discard.hidden = !this.#isChanged;
    this.#add.disabled = this.#save.disabled = this.#saved === null;
    setText(this.#none, zones.length ? "" : "No zones. Click the first corner on the picture.");
    this.#none.hidden = zones.length > 0;
    this.#stage.update(zones, this.#chosen);
    while (this.#rows.length > zones.length) this.#rows.pop().element.remove();
    while (this.#rows.length < zones.length) {
      const row = this.#newRow(this.#rows.length);
      this.#rows.push(row);
      this.#list.append(row.element);
    }
    for (const [index, zone] of zones.entries()) this.#rows[index].update(zone, index === this.#chosen);
  }

  #changed(index, change) {
    return this.#zones.with(index, { ...this.#zones[index], ...change });
  }

  #onPolygon(polygon) {
    if (this.#saved === null) return;
    if (this.#chosen < 0) {
      this.#use([...this.#zones, { name: freeName(this.#zones), polygon }], this.#zones.length);
      return;
    }
    this.#rows[this.#chosen].fail("polygon", "");
    this.#use(this.#changed(this.#chosen, { polygon }));
  }

  #addZone() {
    this.#use([...this.#zones, { name: freeName(this.#zones), polygon: [] }], this.#zones.length);
    this.#stage.element.focus();
  }

  #discardChanges() {
    this.#clearErrors();
    this.#use(JSON.parse(this.#saved), 0);
    this.#stage.element.focus();
  }

  #removeZone(index) {
    this.#clearErrors();
    this.#use(this.#zones.toSpliced(index, 1), Math.max(0, index - 1));
    (this.#rows[Math.min(index, this.#rows.length - 1)]?.input ?? this.#add).focus();
  }

  #newRow(index) {
    const id = `zone-${index}`;
    const input = h("input", {
      id, type: "text", autocomplete: "off", maxlength: "64", "aria-describedby": `${id}-error ${id}-corners`,
      focus: () => this.#use(this.#zones, index),
      input: () => {
        row.fail("name", "");
        this.#use(this.#changed(index, { name: input.value }), index);
      },
    });
    const remove = button("Remove", () => this.#removeZone(index), { class: "quiet-button" });
    const corners = h("span", { class: "quiet", id: `${id}-corners` });
    const error = h("span", { class: "field-error", id: `${id}-error`, role: "alert" });
    const problems = { name: "", polygon: "" };
    const label = h("label", { class: "visually-hidden", for: id }, `Name of zone ${index + 1}`);
    const row = {
      element: h("li", { class: "zone" }, label, input, remove, corners, error),
      input,
      update({ name, polygon }, isChosen) {
        if (input.value !== name) input.value = name;
        remove.setAttribute("aria-label", `Remove ${name || `zone ${index + 1}`}`);
        setText(corners, `${polygon.length} ${polygon.length === 1 ? "corner" : "corners"}`);
        if (isChosen) this.element.setAttribute("aria-current", "true");
        else this.element.removeAttribute("aria-current");
      },
      fail(part, message) {
        problems[part] = message;
        setText(error, [problems.name, problems.polygon].filter(Boolean).join(" "));
        if (problems.name || problems.polygon) input.setAttribute("aria-invalid", "true");
        else input.removeAttribute("aria-invalid");
      },
    };
    return row;
  }

  #clearErrors() {
    setText(this.#error, "");
    for (const row of this.#rows) for (const part of ["name", "polygon"]) row.fail(part, "");
  }

  async #saveZones() {
    this.#clearErrors();
    const zones = this.#zones.map(({ name, polygon }) => ({ name: name.trim(), polygon }));
    for (const [index, problems] of problemsOf(zones).entries()) {
      for (const [part, message] of Object.entries(problems)) this.#rows[index].fail(part, message);
    }
    if (this.#focusFirstError()) return;
    this.#save.disabled = true;
    try {
      await api.patch(streamPath(this.streamId), { zones });
      drafts.delete(this.streamId);
      announce(`The zones of ${this.streamId} are saved`);
      location.hash = linkToStream(this.streamId);
    } catch (error) {
      this.#showRefusal(error);
    } finally {
      this.#save.disabled = false;
    }
  }

  #showRefusal(error) {
    const others = [];
    for (const { where, message } of error.errors ?? []) {
      const place = placeOf(where);
      if (place && this.#rows[place.index]) this.#rows[place.index].fail(place.part, message);
      else others.push(`${where}: ${message}`);
    }
    setText(this.#error, error.errors?.length ? others.join(" ") : error.message);
    this.#focusFirstError();
  }

  #focusFirstError() {
    const found = this.#rows.find(({ input }) => input.hasAttribute("aria-invalid"));
    found?.input.focus();
    return Boolean(found);
  }
}
