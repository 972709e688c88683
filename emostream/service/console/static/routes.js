/** The part of the address behind #: which page is shown. Kept in one place, so that links and pages agree. */

/**
 * @param {string} hash of the address
 * @returns {{kind: string, id: string, part: string, query: URLSearchParams}} empty parts where the address has none
 */
export function routeOf(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const [kind = "", id = "", part = ""] = path.split("/").map(decoded);
  return { kind, id, part, query: new URLSearchParams(query) };
}

/** The page of a stream; `part` is one of its own pages. */
export const linkToStream = (streamId, part = "") => `#/streams/${encodeURIComponent(streamId)}${part && `/${part}`}`;

/** The page of a job. */
export const linkToJob = (jobId) => `#/jobs/${encodeURIComponent(jobId)}`;

/** A page with a query; values that are empty are left out. @param {string} page @param {Record<string, string>} query */
export function linkWith(page, query) {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return `#/${page}${given.size ? `?${given}` : ""}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
