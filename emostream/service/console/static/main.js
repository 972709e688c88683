/** Starts the console: what stands around all pages, and which page is shown (the part of the address behind #). */

import { api } from "./api.js";
import { CameraPage } from "./camera_page.js";
import { askForToken } from "./dialogs.js";
import { h, setText } from "./dom.js";
import { JobPage } from "./job_page.js";
import { JobsPage } from "./jobs_page.js";
import { announce } from "./messages.js";
import { loadPalette } from "./palette.js";
import { poll } from "./poll.js";
import { preferences } from "./preferences.js";
import { routeOf } from "./routes.js";
import { StreamPage } from "./stream_page.js";
import { StreamsPage } from "./streams_page.js";
import { WallPage } from "./wall_page.js";
import { WorkersPage } from "./workers_page.js";
import { ZonesPage } from "./zones_page.js";

const THEMES = new Map([["system", "Theme of the device"], ["light", "Light"], ["dark", "Dark"]]);
let page = null;
let asking = null;

/** Many requests may be refused at once; one question serves all. Who leaves it is not asked again and again. */
async function askOnce(options) {
  asking ??= askForToken(options);
  const isGiven = await asking;
  if (isGiven) asking = null;
  return isGiven;
}

/** The page that an address asks for; that of all streams where there is no other. */
function pageOf({ kind, id, part, query }) {
  if (kind === "streams" && id) return part === "zones" ? new ZonesPage(id) : new StreamPage(id);
  if (kind === "jobs") return id ? new JobPage(id) : new JobsPage();
  if (kind === "workers") return new WorkersPage();
  if (kind === "camera") return new CameraPage();
  if (kind === "wall") return new WallPage(query);
  return new StreamsPage(query);
}

function show() {
  const route = routeOf(location.hash);
  const isFirst = page === null;
  page?.close();
  page = pageOf(route);
  document.getElementById("page").replaceChildren(page.element);
  const section = ["jobs", "workers", "camera"].includes(route.kind) ? route.kind : "streams";
  for (const link of document.querySelectorAll(".sections a")) {
    if (link.dataset.section === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page.title} – emostream`;
  window.scrollTo(0, 0);
  if (!isFirst) page.element.querySelector("h1").focus(); // readers of the screen begin at the new page
}

function connectSwitches() {
  for (const [id, name] of [["blur", "blur"], ["previews", "previews"]]) {
    const box = document.getElementById(id);
    box.checked = preferences[name];
    box.addEventListener("change", () => preferences.set(name, box.checked));
  }
  const theme = document.getElementById("theme");
  theme.append(...[...THEMES].map(([name, label]) => h("option", { value: name, selected: name === preferences.theme }, label)));
  theme.addEventListener("change", () => preferences.set("theme", theme.value));
  preferences.addEventListener("change", applyTheme);
  applyTheme();
  document.getElementById("token").addEventListener("click", async () => {
    asking = null;
    if (await askOnce({})) announce("The token was accepted");
    show();
  });
}

function applyTheme() {
  document.documentElement.dataset.theme = preferences.theme;
}

/** How many workers there are and what they can take; also asked while the service is not ready, which is an answer. */
async function showCapacity() {
  const { ready, num_workers, num_streams, capacity } = await api.get("readyz", { accepts: [503] });
  const text = `${num_workers} ${num_workers === 1 ? "worker" : "workers"} · ${num_streams} of at most ${capacity} streams`;
  setText(document.getElementById("capacity"), ready ? text : "no worker is running");
}

/** What this browser lacks; older ones do not even read this file and keep the notice of the page. */
function missingFeatures() {
  const features = {
    "pictures out of bytes (createImageBitmap)": typeof createImageBitmap === "function",
    "dialogs": typeof HTMLDialogElement === "function",
    "time limits of requests (AbortSignal.timeout)": typeof AbortSignal.timeout === "function",
    "colours for light and dark (light-dark)": CSS.supports("color", "light-dark(#fff, #000)"),
  };
  return Object.keys(features).filter((name) => !features[name]);
}

function start() {
  const missing = missingFeatures();
  if (missing.length) {
    setText(document.getElementById("missing"), `It lacks: ${missing.join(", ")}.`);
    return;
  }
  document.documentElement.classList.add("is-started");
  api.askForToken = askOnce;
  connectSwitches();
  loadPalette().catch(() => {}); // not waited for; without it boxes have one colour, and the list says what is wrong
  window.addEventListener("hashchange", show);
  show();
  poll(showCapacity, { everyMs: 5000, onError: () => {} }); // the page itself says when the service is away
}

start();
