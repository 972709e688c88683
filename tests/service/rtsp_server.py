"""A real RTSP server with a moving test picture: `/usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT FPS`.

Run by the system's Python, which has GStreamer's bindings (`tests/install-debian-packages.sh`). Port 0 takes a
free one. Prints `ready PORT` once the picture moves, and fails when the port cannot be had.
"""

from __future__ import annotations

import sys
import time

_PATIENCE_SECONDS = 20.0  # a port that was given up a moment ago is free soon


def main(port: str, width: str, height: str, fps: str) -> None:
    """Serve `rtsp://127.0.0.1:PORT/live` until killed."""
    import gi  # type: ignore[import-not-found]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]

    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate={fps}/1 "
        f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={fps} ! h264parse "
        "! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    factory.set_shared(True)  # one encoder for all clients
    server = GstRtspServer.RTSPServer()
    server.set_service(port)
    server.get_mount_points().add_factory("/live", factory)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not server.attach(None):
        if time.monotonic() > deadline:
            sys.exit(f"port {port} is taken")
        time.sleep(0.2)
    bound_port = server.get_bound_port()

    # The server watches itself: when the first clients come at the same time it may abort (an assertion of its own in
    # `gst_rtsp_media_get_rates`), while those that join a running stream are safe.
    watching = Gst.parse_launch(
        f"rtspsrc location=rtsp://127.0.0.1:{bound_port}/live protocols=tcp ! fakesink name=end signal-handoffs=true"
    )
    end = watching.get_by_name("end")

    def tell(*_args: object) -> None:
        end.set_property("signal-handoffs", False)
        print("ready", bound_port, flush=True)

    end.connect("handoff", tell)
    watching.set_state(Gst.State.PLAYING)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
