/** What a stream published longer ago than the page remembers: sampled by the service out of Redis. */

import { api, streamPath } from "./api.js";
import { moment } from "./format.js";
import { History } from "./history.js";

const MAX_EVENTS = 400; // more are not seen in a lane of some hundred pixels
const MAX_PERSONS = 10_000;

/**
 * @param {string} streamId
 * @param {{spanMs: number, until: string | null}} span its length, and its end: a time, or null for the present
 * @returns {Promise<{history: History, sinceMs: number, untilMs: number, stepMs: number, note: string}>}
 */
export async function pastEvents(streamId, { spanMs, until }) {
  const query = new URLSearchParams({ seconds: spanMs / 1000, limit: MAX_EVENTS });
  if (until) query.set("until", until);
  const found = await api.get(streamPath(streamId, `/history?${query}`));
  const [sinceMs, untilMs] = [Date.parse(found.since), Date.parse(found.until)];
  const history = new History({ keepMs: spanMs, maxPersons: MAX_PERSONS, untilMs });
  for (const event of found.events) history.add(event);
  const stepMs = 1000 * found.step_seconds;
  return { history, sinceMs, untilMs, stepMs, note: noteOf(found, { sinceMs, untilMs, stepMs }) };
}

function noteOf({ oldest_at }, { sinceMs, untilMs, stepMs }) {
  if (oldest_at === null) return "Redis has no events of this stream.";
  const oldestMs = Date.parse(oldest_at);
  const sampled = `One event every ${(stepMs / 1000).toLocaleString("en", { maximumFractionDigits: 1 })} s`;
  return oldestMs > sinceMs ? `${sampled}. Redis keeps events since ${moment(oldestMs, untilMs - sinceMs)}.` : `${sampled}.`;
}
