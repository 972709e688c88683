/** The service's interface: answers as values, refusals as `ApiError`, the token in a header and never in a URL. */

const TOKEN_KEY = "emostream.token";
const TIMEOUT_MS = 15_000;

/** The service refused, or did not answer (status 0). The message is the service's own words. */
export class ApiError extends Error {
  /** @param {Array<{where: string, message: string}>} errors which fields are wrong, where the service says so */
  constructor(message, status, errors = []) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

class Api {
  /** Asks the user for a token; resolves to true when there is a new one. Set by `main.js`. */
  askForToken = async () => false;

  /** Whether a token is sent. */
  get hasToken() { return Boolean(sessionStorage.getItem(TOKEN_KEY)); }

  /** Use another token from now on, as long as this tab is open; empty for none. */
  setToken(token) {
    if (token) sessionStorage.setItem(TOKEN_KEY, token);
    else sessionStorage.removeItem(TOKEN_KEY);
  }

  get(path, options) { return this.#json("GET", path, options); }
  post(path, body) { return this.#json("POST", path, { body }); }
  patch(path, body) { return this.#json("PATCH", path, { body }); }
  remove(path, options) { return this.#json("DELETE", path, options); }

  /** Send text of a media type; the answer is text, too. */
  async exchange(path, text, type) {
    return (await this.#answer("POST", path, { body: text, type })).text();
  }

  /** A WebSocket that is open; the token goes in a subprotocol, since browsers send no other header. */
  connect(path) {
    const url = new URL(path, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const token = sessionStorage.getItem(TOKEN_KEY);
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, ["emostream", ...(token ? [`bearer.${token}`] : [])]);
      socket.addEventListener("open", () => resolve(socket), { once: true });
      socket.addEventListener("error", () => reject(new ApiError("The service takes no pictures over a WebSocket now, or a proxy before it does not pass WebSockets on.", 0)), { once: true });
    });
  }

  /** The body of an answer that lasts, as a stream of bytes. */
  async open(path, { signal }) {
    return (await this.#answer("GET", path, { signal })).body;
  }

  async #json(method, path, { body, accepts = [], keepalive = false } = {}) {
    const response = await this.#answer(method, path, { body, accepts, keepalive });
    return response.status === 204 ? null : response.json();
  }

  async #answer(method, path, options) {
    const response = await this.#send(method, path, options);
    if (response.ok || options.accepts?.includes(response.status)) return response;
    if (response.status === 401 && (await this.askForToken({ wasWrong: this.hasToken }))) {
      return this.#answer(method, path, options);
    }
    throw await errorOf(response);
  }

  async #send(method, path, { body, type, signal, keepalive = false }) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const headers = {
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body && { "Content-Type": type ?? "application/json" }),
    };
    const limits = { signal: signal ?? AbortSignal.timeout(TIMEOUT_MS), cache: "no-store", keepalive };
    try {
      return await fetch(new URL(path, document.baseURI), { method, headers, body: type ? body : body && JSON.stringify(body), ...limits });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The service does not respond.", 0);
    }
  }
}

async function errorOf(response) {
  const problem = await response.json().catch(() => ({}));
  const message = problem.detail || `The service responded with ${response.status} ${response.statusText}`;
  return new ApiError(message, response.status, problem.errors);
}

/** The path of a stream, of whatever it is called. */
export const streamPath = (id, rest = "") => `v1/streams/${encodeURIComponent(id)}${rest}`;

/** The path of a job. */
export const jobPath = (id) => `v1/jobs/${encodeURIComponent(id)}`;

export const api = new Api();
