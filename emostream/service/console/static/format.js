/** Values as people read them; what is not known is a dash. */

const NOTHING = "–";
const NARROW_SPACE = "\u202f"; // between number and unit

/** 24.5 → "25 ms", 1234 → "1.2 s", 240000 → "4 min". */
export function milliseconds(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value < 1000) return `${Math.round(value)}${NARROW_SPACE}ms`;
  if (value < 120_000) return `${(value / 1000).toFixed(1)}${NARROW_SPACE}s`;
  return `${Math.round(value / 60_000)}${NARROW_SPACE}min`;
}

/** 9.96 → "10.0". */
export const rate = (value) => (value === null || value === undefined ? NOTHING : value.toFixed(1));

/** 1234567 → "1,234,567". */
export const count = (value) => (value === null || value === undefined ? NOTHING : value.toLocaleString("en"));

/** 0.914 → "91 %". */
export const percent = (share) => `${Math.round(100 * share)}${NARROW_SPACE}%`;

/** Seconds → "1:05". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** An instant (milliseconds since 1970) in the browser's time zone. */
export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB", { hour12: false });

/** An instant as a mark of a time scale: without seconds, with the day where the scale is as long as one. */
export const moment = (ms, spanMs) => new Date(ms).toLocaleString("en-GB", { hour: "2-digit", minute: "2-digit", ...(spanMs >= 86_400_000 && { weekday: "short" }) });

/** Cut in the middle, where names of cameras differ least. */
export function shortened(text, length) {
  if (text.length <= length) return text;
  const half = Math.floor((length - 1) / 2);
  return `${text.slice(0, half)}…${text.slice(-half)}`;
}
