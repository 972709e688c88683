/** Parts of a multipart answer as they come. Each part says its length, as this service's parts do. */

const HEAD_END = [13, 10, 13, 10];
const MAX_BYTES = 16 << 20; // a part that never ends must not fill the memory

/**
 * Yields `{ type, body }`: the content type and the bytes.
 * @param {ReadableStream<Uint8Array>} stream
 */
export async function* partsOf(stream) {
  let rest = new Uint8Array();
  for await (const chunk of chunksOf(stream)) {
    rest = joined(rest, chunk);
    for (let found = firstPart(rest); found; found = firstPart(rest)) {
      rest = rest.subarray(found.end);
      yield found.part;
    }
    if (rest.length > MAX_BYTES) throw new Error("a part of the response is too long");
  }
}

/** Chunks of a stream; leaving the loop ends the request. */
export async function* chunksOf(stream) {
  const reader = stream.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The part that begins the bytes, if it is all there; `end` is where it ends. */
function firstPart(bytes) {
  const start = skipLines(bytes);
  const headEnd = indexOf(bytes, HEAD_END, start);
  if (headEnd < 0) return null;
  const headers = headersOf(new TextDecoder().decode(bytes.subarray(start, headEnd)));
  const bodyStart = headEnd + HEAD_END.length;
  const end = bodyStart + Number(headers.get("content-length"));
  if (!(end >= bodyStart)) throw new Error("a part of the response has no length");
  if (bytes.length < end) return null;
  return { part: { type: headers.get("content-type"), body: bytes.slice(bodyStart, end) }, end };
}

/** Empty lines between parts keep a connection alive. */
function skipLines(bytes) {
  let start = 0;
  while (bytes[start] === 13 || bytes[start] === 10) start += 1;
  return start;
}

function headersOf(text) {
  const lines = text.split("\r\n").filter((line) => line.includes(":"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
}

function indexOf(bytes, wanted, start) {
  for (let index = bytes.indexOf(wanted[0], start); index >= 0; index = bytes.indexOf(wanted[0], index + 1)) {
    if (wanted.every((byte, offset) => bytes[index + offset] === byte)) return index;
  }
  return -1;
}

function joined(one, other) {
  if (!one.length) return other;
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}
