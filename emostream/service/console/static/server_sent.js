/** Server-sent events out of a `fetch`: the browser's own reader cannot send a token in a header. */

import { chunksOf } from "./multipart.js";

const MAX_CHARACTERS = 16 << 20; // an event that never ends must not fill the memory

/**
 * Yields `{ id, type, data }`; comments are left out.
 * @param {ReadableStream<Uint8Array>} stream
 */
export async function* eventsOf(stream) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of chunksOf(stream)) {
    const blocks = (text + decoder.decode(chunk, { stream: true })).split("\n\n");
    text = blocks.pop();
    if (text.length > MAX_CHARACTERS) throw new Error("an event of the response is too long");
    for (const block of blocks) {
      const event = eventOf(block);
      if (event.data !== undefined) yield event;
    }
  }
}

function eventOf(block) {
  const event = { id: undefined, type: "message", data: undefined };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).trimStart()];
    if (name === "id") event.id = value;
    else if (name === "event") event.type = value;
    else if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  }
  return event;
}
