/** Sends the camera of this device to the service, and shows what is found over its own picture. */

import { api, streamPath } from "./api.js";
import { haveStream, startSending } from "./camera_senders.js";
import { button, fittedContext, h, setText } from "./dom.js";
import { field } from "./form.js";
import { count, rate } from "./format.js";
import { drawEvent, nameOf } from "./overlay.js";
import { linkToStream } from "./routes.js";

const OLD_MS = 1500; // then what was found is not where the face is now
const TELL_MS = 500;
const MAX_TOLD = 5;

const CONSENT = [
  "Your camera's video is sent to this service. It looks for faces and estimates which expressions they show. Sound is not sent.",
  "What it finds is published as events, which others can read. While you send, people who may use this console can see your picture.",
  "An expression is not a feeling: it can be wrong, and it does not tell what you think or who you are.",
  "Nothing is sent before you press Start. Stop ends it, switches the camera off and removes the stream; its events stay until they are trimmed.",
];

/** Why the camera cannot be used, in words that say what to do. */
function reasonOf(error) {
  const reasons = {
    NotAllowedError: "The browser was not allowed to use the camera. Allow it in the address bar, then press Start again.",
    NotFoundError: "This device has no camera, or it is not connected.",
    NotReadableError: "The camera is in use by another program. Close it there, then press Start again.",
    OverconstrainedError: "This camera is not there any more. Choose another one.",
  };
  return reasons[error.name] ?? error.message;
}

export class CameraPage {
  title = "Use my camera";
  #agreed = h("input", { type: "checkbox", id: "agreed", change: () => this.#showState() });
  #name = field("camera-name", "Name of the stream", "Letters, digits, dots, dashes.", { value: `camera-${Math.random().toString(36).slice(2, 7)}`, maxlength: "64" });
  #devices = field("camera-device", "Camera", "Names appear once the browser may use a camera.", { options: [["", "The browser's choice"]] });
  #start = button("Start", () => this.#begin(), { class: "primary" });
  #stop = button("Stop", () => this.#end("Stopped. The camera is off."));
  #status = h("p", { role: "status", class: "camera-status" }, "Nothing is sent.");
  #error = h("p", { role: "alert", class: "field-error" });
  #found = h("p", { class: "quiet" });
  #link = h("a", { hidden: true, target: "_blank", rel: "opener" }, "Figures and time line of this stream, in a new tab"); // which gets the token, too
  #video = h("video", { muted: true, playsinline: true, autoplay: true, "aria-label": "Picture of your camera" });
  #canvas = h("canvas", { role: "img", "aria-label": "Faces found in your camera's picture" });
  #stage = h("div", { class: "camera-stage" }, this.#video, this.#canvas);
  #sending = null; // { streamId, isNew, sender }
  #isStarting = false;
  #event = null;
  #eventAt = -Infinity;
  #labels = new Map();
  #numEvents = 0;
  #telling = setInterval(() => this.#tell(), TELL_MS);
  #resizes = new ResizeObserver(() => this.#draw());
  #leaving = new AbortController();

  constructor() {
    const consent = h("div", { class: "panel consent" },
      h("h2", {}, "Before you start"),
      h("ul", {}, ...CONSENT.map((text) => h("li", {}, text))),
      h("label", { class: "agree", for: "agreed" }, this.#agreed, "I agree, and so does everyone whom the camera sees."),
      this.#name.element, this.#devices.element,
      h("div", { class: "camera-buttons" }, this.#start, this.#stop), this.#error);
    const picture = h("div", { class: "column" }, this.#stage, this.#status, this.#found, this.#link);
    this.element = h("div", { class: "camera-page" }, h("div", { class: "toolbar" }, h("h1", { tabindex: "-1" }, this.title)), consent, picture);
    this.#video.muted = true; // the attribute alone is not enough for an element made by a script
    this.#devices.input.addEventListener("change", () => this.#change());
    const { signal } = this.#leaving;
    window.addEventListener("pagehide", () => this.#release(), { signal });
    this.#video.addEventListener("resize", () => { this.#stage.style.aspectRatio = `${this.#video.videoWidth} / ${this.#video.videoHeight}`; });
    this.#resizes.observe(this.#canvas);
    if (!navigator.mediaDevices) {
      setText(this.#error, "Browsers give pages a camera over HTTPS or on localhost only. Open the console at such an address.");
    } else {
      navigator.mediaDevices.addEventListener("devicechange", () => this.#list(), { signal });
      this.#list();
    }
    this.#showState();
  }

  /** Leave the page: the camera is switched off. */
  close() {
    this.#leaving.abort();
    clearInterval(this.#telling);
    this.#resizes.disconnect();
    this.#release();
  }

  #showState() {
    const isBusy = this.#isStarting || this.#sending !== null;
    this.#start.disabled = isBusy || !this.#agreed.checked || !navigator.mediaDevices;
    this.#stop.disabled = !isBusy;
    this.#agreed.disabled = this.#name.input.disabled = isBusy;
    this.#link.hidden = this.#sending === null;
  }

  async #list() {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
    const chosen = this.#camera()?.getSettings().deviceId ?? this.#devices.input.value;
    const options = [["", "The browser's choice"], ...cameras.map(({ deviceId, label }, index) => [deviceId, label || `Camera ${index + 1}`])];
    this.#devices.input.replaceChildren(...options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  }

  #camera() {
    return this.#video.srcObject?.getVideoTracks()[0];
  }

  async #open() {
    const deviceId = this.#devices.input.value;
    const wanted = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 25 }, ...(deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" }) };
    const media = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    this.#closeCamera();
    this.#video.srcObject = media;
    const [camera] = media.getVideoTracks();
    camera.addEventListener("ended", () => this.#end("The camera was disconnected."));
    this.#stage.classList.toggle("is-mirrored", camera.getSettings().facingMode !== "environment");
    await this.#video.play();
    await this.#list();
    return camera;
  }

  #closeCamera() {
    for (const track of this.#video.srcObject?.getTracks() ?? []) track.stop();
    this.#video.srcObject = null;
  }

  async #begin() {
    const streamId = this.#name.input.value.trim();
    const sending = { streamId, isNew: false, sender: null };
    this.#isStarting = true;
    this.#sending = sending;
    setText(this.#error, "");
    this.#name.fail("");
    this.#showState();
    this.#stop.focus();
    const isMine = () => this.#sending === sending; // not stopped meanwhile
    try {
      setText(this.#status, "Waiting for the camera…");
      await this.#open();
      if (!isMine()) return this.#closeCamera();
      setText(this.#status, "Connecting to the service…");
      sending.isNew = await haveStream(streamId);
      if (!isMine()) return removeStream(sending);
      this.#link.href = linkToStream(streamId);
      const sender = await startSending(streamId, this.#video, {
        onEvent: (event) => isMine() && this.#take(event),
        onEnd: (reason) => isMine() && this.#end(reason),
      });
      if (!isMine()) {
        sender.close();
        return removeStream(sending);
      }
      sending.sender = sender;
      setText(this.#status, `${sender.way}.`);
      this.#stage.scrollIntoView({ block: "nearest" }); // below the text on narrow screens
    } catch (error) {
      if (!isMine()) return undefined;
      this.#end("Nothing is sent.");
      if ([409, 422].includes(error.status)) this.#name.fail(error.errors?.[0]?.message ?? error.message);
      else setText(this.#error, reasonOf(error));
    } finally {
      if (isMine()) this.#isStarting = false;
      this.#showState();
    }
    return undefined;
  }

  #end(text) {
    this.#release();
    setText(this.#status, text);
    this.#showState();
    if (document.activeElement === this.#stop || document.activeElement === document.body) this.#start.focus();
  }

  #release() {
    this.#closeCamera();
    const sending = this.#sending;
    [this.#sending, this.#isStarting, this.#event, this.#numEvents] = [null, false, null, 0];
    this.#labels = new Map();
    sending?.sender?.close();
    if (sending?.isNew) removeStream(sending);
    this.#draw();
    setText(this.#found, "");
  }

  async #change() {
    if (!this.#sending?.sender) return;
    try {
      await this.#sending.sender.useTrack(await this.#open());
    } catch (error) {
      setText(this.#error, reasonOf(error));
    }
  }

  #take(event) {
    this.#event = event;
    this.#eventAt = performance.now();
    this.#numEvents += 1;
    this.#draw();
  }

  #draw() {
    const { context, width, height } = fittedContext(this.#canvas);
    if (!this.#event || performance.now() - this.#eventAt > OLD_MS || !width) return;
    const event = this.#stage.classList.contains("is-mirrored") ? mirrored(this.#event) : this.#event;
    const scale = Math.min(width / event.frame_width, height / event.frame_height);
    const size = { width: event.frame_width * scale, height: event.frame_height * scale };
    const place = { ...size, left: (width - size.width) / 2, top: (height - size.height) / 2 };
    this.#labels = drawEvent(context, event, place, { isSmall: false, earlier: this.#labels });
  }

  /** In words and not too often; also for those who do not see the boxes. */
  #tell() {
    if (!this.#sending?.sender) return;
    const perSecond = rate((this.#numEvents * 1000) / TELL_MS);
    this.#numEvents = 0;
    this.#draw();
    const faces = performance.now() - this.#eventAt > OLD_MS ? [] : this.#event.faces;
    const names = faces.slice(0, MAX_TOLD).map((face) => nameOf(face)).join(", ");
    setText(this.#found, `${count(faces.length)} ${faces.length === 1 ? "face" : "faces"}${names && `: ${names}`} · ${perSecond} pictures a second`);
  }
}

/** People expect to see themselves as in a mirror; so the boxes have to be. */
function mirrored(event) {
  const faces = event.faces.map((face) => {
    const [x0, y0, x1, y1] = face.box_xyxy;
    return { ...face, box_xyxy: [event.frame_width - x1, y0, event.frame_width - x0, y1] };
  });
  return { ...event, faces };
}

/** Remove the stream that was made for the camera, also while the page is left. */
function removeStream({ streamId, isNew }) {
  if (isNew) api.remove(streamPath(streamId), { keepalive: true }).catch(() => {}); // it is listed, and can be removed there
}
