/** What the people of one stream showed over the last minutes. Holds values only; drawing is elsewhere. */

const KEEP_MS = 300_000;
const MAX_PERSONS = 200; // who was not seen for longest is forgotten
const UNKNOWN = "unknown";

/**
 * One face over time.
 * @typedef {{key: string, trackId: number, samples: Array<{ms: number, emotion: string, confidence: number}>}} Person
 */

export class History {
  #keepMs;
  #maxPersons;
  #untilMs;
  #persons = new Map(); // key → Person; who was seen last stands last
  #latencies = []; // { ms, value }
  #newestMs = 0;
  #arrivedAt = 0;

  /** @param {{keepMs?: number, maxPersons?: number, untilMs?: number}} options `untilMs` ends what is over; without it time goes on */
  constructor({ keepMs = KEEP_MS, maxPersons = MAX_PERSONS, untilMs } = {}) {
    [this.#keepMs, this.#maxPersons, this.#untilMs] = [keepMs, maxPersons, untilMs];
  }

  /** Take in an event; they come in the order of their time. @param {object} event an emotion event @param {number} now monotonic ms */
  add(event, now = performance.now()) {
    const ms = Date.parse(event.captured_at);
    if (!(ms >= this.#newestMs)) return; // read twice, or nonsense
    [this.#newestMs, this.#arrivedAt] = [ms, now];
    for (const face of event.faces.slice(0, this.#maxPersons)) this.#addFace(event.epoch, face, ms);
    if (event.latency_ms.total !== undefined) this.#latencies.push({ ms, value: event.latency_ms.total });
    this.#forget();
  }

  /** The time at the service, in ms since 1970; by its own clock, which may differ from this device's. */
  nowMs(now = performance.now()) {
    return this.#untilMs ?? this.#liveMs(now);
  }

  #liveMs(now) {
    return this.#newestMs ? this.#newestMs + (now - this.#arrivedAt) : Date.now();
  }

  /** Those seen since an instant, the ones seen last first. @returns {Person[]} */
  persons(sinceMs) {
    return [...this.#persons.values()].filter((person) => person.samples.at(-1).ms >= sinceMs).reverse();
  }

  /** Emotion → share of all faces seen since an instant, the largest first. */
  shares(sinceMs) {
    return sharesOf(this.persons(sinceMs).flatMap((person) => person.samples), sinceMs);
  }

  /** Emotion → share of all faces, in each of a number of steps of equal length; empty where no face was seen. @returns {Array<Map<string, number>>} */
  sharesOverTime(sinceMs, untilMs, number) {
    const steps = Array.from({ length: number }, () => []);
    for (const person of this.persons(sinceMs)) {
      for (const sample of person.samples) {
        const at = Math.floor(((sample.ms - sinceMs) / (untilMs - sinceMs)) * number);
        steps[Math.min(at, number - 1)]?.push(sample);
      }
    }
    return steps.map((samples) => new Map(sharesOf(samples, sinceMs)));
  }

  /** Latency over time since an instant. */
  latencies(sinceMs) {
    return this.#latencies.filter((sample) => sample.ms >= sinceMs);
  }

  #addFace(epoch, face, ms) {
    const key = `${epoch}:${face.track_id}`; // another run gives its ids to other people
    const person = this.#persons.get(key) ?? { key, trackId: face.track_id, samples: [] };
    person.samples.push({ ms, emotion: face.dominant, confidence: face.dominant === UNKNOWN ? 0 : face.confidence });
    this.#persons.delete(key);
    this.#persons.set(key, person);
  }

  #forget() {
    const sinceMs = this.#newestMs - this.#keepMs;
    dropBefore(this.#latencies, sinceMs);
    for (const [key, person] of this.#persons) {
      dropBefore(person.samples, sinceMs);
      if (!person.samples.length || this.#persons.size > this.#maxPersons) this.#persons.delete(key);
    }
  }
}

/** Emotion → share of samples since an instant, the largest first. @returns {Array<[string, number]>} */
export function sharesOf(samples, sinceMs) {
  const counts = new Map();
  let total = 0;
  for (const { ms, emotion } of samples) {
    if (ms < sinceMs) continue;
    counts.set(emotion, (counts.get(emotion) ?? 0) + 1);
    total += 1;
  }
  return [...counts].sort((one, other) => other[1] - one[1]).map(([emotion, number]) => [emotion, number / total]);
}

function dropBefore(samples, sinceMs) {
  let number = 0;
  while (number < samples.length && samples[number].ms < sinceMs) number += 1;
  if (number) samples.splice(0, number);
}
