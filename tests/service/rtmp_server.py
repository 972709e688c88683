"""A real RTMP server: Debian's nginx with its RTMP module (`tests/install-debian-packages.sh`)."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media import wait_until
from tests.ports import unused_port

_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}
"""


@contextlib.contextmanager
def rtmp_server(folder: Path) -> Iterator[str]:
    """The URL of a stream that can be published and played, for as long as the context lasts."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None or not _MODULE.exists():
        pytest.skip("needs nginx with its RTMP module: run tests/install-debian-packages.sh")
    port = unused_port()
    path = folder / "nginx.conf"
    path.write_text(_CONFIGURATION.format(module=_MODULE, folder=folder, port=port))
    process = subprocess.Popen([nginx, "-c", str(path), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: _listens(port), timeout_seconds=20)
        yield f"rtmp://127.0.0.1:{port}/live/door"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False
