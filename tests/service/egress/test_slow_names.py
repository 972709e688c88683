"""A name server that says nothing delays no connection but those to the names it was asked for."""

from __future__ import annotations

import socket
import threading

from emostream.config import ServiceSettings
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress


def test_connections_of_others_are_made_meanwhile() -> None:
    answered = threading.Event()

    def resolve(host: str) -> list[str]:
        if host != "127.0.0.1":
            answered.wait(60)
        return ["127.0.0.1"]

    policy = SourcePolicy(ServiceSettings(allowed_networks=("127.0.0.0/8",)), resolver=resolve)
    with socket.create_server(("127.0.0.1", 0)) as camera, Egress(policy) as egress:
        camera.settimeout(30)
        port = camera.getsockname()[1]
        waiting = [
            socket.create_connection(
                ("127.0.0.1", egress.relay(f"n{number}.example", port, is_tls=False, is_rtsp=False).port)
            )
            for number in range(60)
        ]
        try:
            way = egress.relay("127.0.0.1", port, is_tls=False, is_rtsp=False)
            with socket.create_connection(("127.0.0.1", way.port)) as client:
                client.sendall(b"hello")
                connection, _ = camera.accept()
                with connection:
                    connection.settimeout(30)
                    assert connection.recv(5) == b"hello"
        finally:
            answered.set()
            for each in waiting:
                each.close()
