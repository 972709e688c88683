/** The user's choices on this device: theme, blur, moving pictures. Emits `change`. */

const DEFAULTS = { theme: "system", blur: false, previews: true };
const KEY = "emostream.preferences";

class Preferences extends EventTarget {
  #values = { ...DEFAULTS, previews: !matchMedia("(prefers-reduced-motion: reduce)").matches, ...stored() };

  get theme() { return this.#values.theme; }
  get blur() { return this.#values.blur; }
  get previews() { return this.#values.previews; }

  /** Change one and keep it. */
  set(name, value) {
    this.#values[name] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#values));
    } catch { /* storage is off: the choice lasts as long as the page */ }
    this.dispatchEvent(new CustomEvent("change", { detail: name }));
  }
}

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(found).filter(([name]) => name in DEFAULTS));
  } catch {
    return {};
  }
}

export const preferences = new Preferences();
