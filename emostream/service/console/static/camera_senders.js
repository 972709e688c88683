/**
 * Sends a camera's pictures to a stream and gives back its events: by WebRTC (WHIP), or as pictures over a WebSocket where the
 * service lets no WebRTC in or none comes through.
 */

import { ApiError, api, streamPath } from "./api.js";
import { h } from "./dom.js";
import { StreamEvents } from "./stream_events.js";

const GATHER_MS = 2000; // the sender's own addresses; the service does without, too
const CONNECT_MS = 10_000;
const EVERY_MS = 40;
const MAX_WIDTH = 640;
const QUALITY = 0.8; // of JPEG
const SDP = "application/sdp";

/**
 * Begin to send.
 * @param {string} streamId of a stream that waits for a sender
 * @param {HTMLVideoElement} video shows the camera
 * @param {{onEvent: (event: object) => void, onEnd: (reason: string) => void}} callbacks `onEnd` is called once, unless closed
 * @returns {Promise<{way: string, useTrack: (track: MediaStreamTrack) => Promise<void>, close: () => void}>}
 */
export async function startSending(streamId, video, callbacks) {
  if (typeof RTCPeerConnection !== "function") return startPictures(streamId, video, callbacks, "this browser has no WebRTC");
  const connection = new RTCPeerConnection();
  try {
    return await startWebRtc(connection, streamId, video, callbacks);
  } catch (error) {
    connection.close();
    if (!(error instanceof NoWayError) && error.status !== 403) throw error;
    const reason = error instanceof NoWayError ? "WebRTC did not get through to the service" : "WebRTC is not enabled on this service";
    return startPictures(streamId, video, callbacks, reason);
  }
}

class NoWayError extends Error {}

async function startWebRtc(connection, streamId, video, { onEvent, onEnd }) {
  const media = video.srcObject;
  const { sender } = connection.addTransceiver(media.getVideoTracks()[0], { direction: "sendonly", streams: [media] });
  await connection.setLocalDescription(await connection.createOffer());
  await until(() => connection.iceGatheringState === "complete", connection, "icegatheringstatechange", GATHER_MS);
  const answer = await api.exchange(`v1/whip/${encodeURIComponent(streamId)}`, connection.localDescription.sdp, SDP);
  await connection.setRemoteDescription({ type: "answer", sdp: answer });
  const isOver = () => ["failed", "closed"].includes(connection.connectionState);
  const isDecided = await until(() => connection.connectionState === "connected" || isOver(), connection, "connectionstatechange", CONNECT_MS);
  if (!isDecided || isOver()) throw new NoWayError();
  const events = new StreamEvents(streamId, null, onEvent);
  let isClosed = false;
  function close() {
    isClosed = true;
    events.close();
    connection.close();
  }
  connection.addEventListener("connectionstatechange", () => {
    if (isClosed || !isOver()) return;
    close();
    onEnd("The connection to the service was lost.");
  });
  return { way: "Sending by WebRTC", useTrack: (track) => sender.replaceTrack(track), close };
}

/** Wait until something holds, looked at with each event of a kind; false when it took too long. */
function until(holds, target, eventName, limitMs) {
  if (holds()) return Promise.resolve(true);
  return new Promise((resolve) => {
    const finish = (result) => {
      clearTimeout(timer);
      target.removeEventListener(eventName, look);
      resolve(result);
    };
    const look = () => holds() && finish(true);
    const timer = setTimeout(() => finish(false), limitMs);
    target.addEventListener(eventName, look);
  });
}

async function startPictures(streamId, video, { onEvent, onEnd }, reason) {
  const socket = await api.connect(streamPath(streamId, "/push"));
  const canvas = h("canvas");
  let [credit, numOnTheirWay, isEncoding, isClosed, lastAt] = [0, 0, false, false, 0];
  const timer = setInterval(send, EVERY_MS);
  async function send() {
    if (isEncoding || numOnTheirWay >= credit || !video.videoWidth) return;
    isEncoding = true;
    const at = Math.max(performance.now() / 1000, lastAt + 1e-4); // times only grow
    const jpeg = await pictureOf(video, canvas);
    isEncoding = false;
    if (isClosed || !jpeg) return;
    const head = new DataView(new ArrayBuffer(8));
    head.setFloat64(0, at);
    socket.send(new Blob([head, jpeg]));
    [lastAt, numOnTheirWay] = [at, numOnTheirWay + 1];
  }
  function close() {
    isClosed = true;
    clearInterval(timer);
    socket.close();
  }
  socket.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(data);
    if (answer.credit) {
      credit = answer.credit;
      return;
    }
    numOnTheirWay -= 1;
    if (answer.event) onEvent(answer.event);
  });
  socket.addEventListener("close", (event) => {
    if (isClosed) return;
    close();
    onEnd(event.reason ? `The service ended it: ${event.reason}.` : "The connection to the service was lost.");
  });
  return { way: `Sending pictures over a WebSocket, since ${reason}`, useTrack: async () => {}, close };
}

/** What the video shows now, as JPEG; null where the browser cannot make one. @returns {Promise<Blob | null>} */
function pictureOf(video, canvas) {
  const scale = Math.min(1, MAX_WIDTH / video.videoWidth);
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", QUALITY); });
}

/** Have a stream that can be sent to; whether it is new. Throws `ApiError`. */
export async function haveStream(streamId) {
  try {
    await api.post("v1/streams", { id: streamId, url: "push://" });
    return true;
  } catch (error) {
    if (error.status !== 409) throw error;
    const { url } = await api.get(streamPath(streamId));
    if (url === "push://") return false;
    throw new ApiError(`There is a stream ${streamId} that is fetched from elsewhere. Choose another name.`, 409);
  }
}
