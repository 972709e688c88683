"""Sends a picture by FFmpeg's own WHIP client, in a process of its own: PyAV holds the interpreter while it connects.

python -m tests.service.senders.ffmpeg_sender URL TOKEN PICTURE SECONDS
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import cv2
from aiortc import RTCCertificate
from cryptography.hazmat.primitives import serialization

from tests.service.senders.webrtc_sender import FPS


def send(url: str, *, token: str, picture: Path, num_seconds: int, folder: Path) -> None:
    """Send a picture for some seconds at its own pace."""
    # FFmpeg with GnuTLS makes a key of a curve (P-224) that WebRTC does not know; with OpenSSL it does not.
    certificate = RTCCertificate.generateCertificate()
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(certificate._cert.public_bytes(pem))
    key = certificate._key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, no_password)
    (folder / "key.pem").write_bytes(key)
    options = {"authorization": token, "cert_file": f"{folder}/certificate.pem", "key_file": f"{folder}/key.pem"}
    bgr: Any = cv2.imread(str(picture))
    with av.open(url, "w", format="whip", options=options) as output:
        encoder = {"profile": "baseline", "tune": "zerolatency", "preset": "ultrafast", "g": str(FPS)}
        stream: Any = output.add_stream("libx264", rate=FPS, options=encoder)
        stream.height, stream.width = bgr.shape[:2]
        stream.pix_fmt = "yuv420p"
        began = time.monotonic()
        for number in range(num_seconds * FPS):
            frame = av.VideoFrame.from_ndarray(bgr, format="bgr24").reformat(format="yuv420p")
            frame.pts = number
            output.mux(stream.encode(frame))
            time.sleep(max(0.0, began + number / FPS - time.monotonic()))


if __name__ == "__main__":
    url, token, picture, num_seconds = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        send(url, token=token, picture=Path(picture), num_seconds=int(num_seconds), folder=Path(folder))
