/** What the page says to everybody who uses it, also to those who hear it: news, failures, and a service that is away. */

import { setText } from "./dom.js";

const SHOWN_MS = 8000;
let timer = 0;

/** Good news: read out, and shown for a while. */
export function announce(text) {
  show("news", text);
}

/** An action of the user failed. */
export function showFailure(error) {
  show("failure", error.message);
}

/** The service does not answer, or not as it should; null when it does again. What the page shows then is old. */
export function showTrouble(error) {
  const banner = document.getElementById("trouble");
  setText(banner, error ? `${error.message} What you see is old; trying again…` : "");
  banner.hidden = !error;
  document.body.classList.toggle("is-stale", Boolean(error));
}

function show(kind, text) {
  const toast = document.getElementById("toast");
  clearTimeout(timer);
  toast.className = kind;
  setText(toast, text);
  timer = setTimeout(() => setText(toast, ""), SHOWN_MS);
}
