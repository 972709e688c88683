// Shows the streams of a running `emostream analyze`: pictures as they come, and once a second what is told of them.
"use strict";

const token = encodeURIComponent(location.hash.slice(1));
const main = document.getElementById("streams");
const state = document.getElementById("state");
const shown = new Map(); // stream id → its elements

function add(id) {
  const section = document.createElement("section");
  const title = document.createElement("h2");
  const picture = document.createElement("img");
  const figures = document.createElement("p");
  const faces = document.createElement("p");
  title.textContent = id;
  picture.alt = `Live picture of ${id}`;
  let number = 0;
  const elements = { figures, faces, isOver: false };
  // Asked for one by one: a browser has few connections, which endless pictures of several streams would use up.
  const ask = () => (picture.src = `pictures/${encodeURIComponent(id)}?token=${token}&number=${number++}`);
  picture.onload = () => elements.isOver || setTimeout(ask, 80);
  picture.onerror = () => elements.isOver || setTimeout(ask, 1000);
  ask();
  section.append(title, picture, figures, faces);
  main.append(section);
  shown.set(id, elements);
  return elements;
}

function show(stream) {
  const elements = shown.get(stream.id) ?? add(stream.id);
  const { figures, faces } = elements;
  const frames = stream.total === null ? `${stream.num_frames}` : `${stream.num_frames}/${stream.total}`;
  const parts = [`${frames} frames`];
  if (stream.fps !== null) parts.push(`${stream.fps.toFixed(0)} frames/s`);
  if (stream.latency_ms !== null) parts.push(`${stream.latency_ms.toFixed(0)} ms`);
  if (stream.num_dropped) parts.push(`${stream.num_dropped} dropped`);
  if (stream.is_over) parts.push("ended");
  elements.isOver = stream.is_over;
  figures.textContent = parts.join(" · ");
  const people = stream.faces.map((face) => `#${face.track_id} ${face.dominant} ${Math.round(100 * face.confidence)} %`);
  faces.textContent = people.join(" · ") || "no face";
}

async function refresh() {
  try {
    const response = await fetch(`streams?token=${token}`, { cache: "no-store" });
    if (response.status === 403) {
      state.textContent = "open the address that the terminal shows, whole";
      return;
    }
    (await response.json()).forEach(show);
    state.textContent = "running";
  } catch {
    state.textContent = "the analysis has ended";
    for (const elements of shown.values()) elements.isOver = true;
    return;
  }
  setTimeout(refresh, 1000);
}

refresh();
