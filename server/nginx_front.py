"""A throw-away nginx as a reverse proxy, as a site would put it in front of the gateway.

For measuring and testing that a client's leaving passes through a proxy. Not needed for serving.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tabwright.errors import Unavailable


class NginxMissing(Unavailable):
    """nginx is not installed."""


def nginx_program() -> str | None:
    """Where nginx is installed, if it is."""
    places = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
    return shutil.which("nginx") or shutil.which("nginx", path=places)


@contextmanager
def nginx_in_front(upstream: int, *, tls: bool = False) -> Iterator[int]:
    """Run nginx as a reverse proxy of `upstream`, as a site would; yield its port.

    tls: it speaks HTTP/2 over TLS to clients, with a certificate that nobody signed.

    Raises:
        NginxMissing: it is not installed.
    """
    program = nginx_program()
    if program is None:
        raise NginxMissing("nginx is not installed (Debian: nginx-light)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tabwright-nginx-") as name:
        folder = Path(name)
        if tls:
            _make_certificate(folder)
        (folder / "nginx.conf").write_text(_nginx_config(folder, port, upstream, tls))
        command = [program, "-p", name, "-c", str(folder / "nginx.conf"), "-e", "error.log"]
        process = subprocess.Popen(command)
        try:
            _wait_listening(port)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _make_certificate(folder: Path) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-subj", "/CN=localhost", "-days", "1", *key, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _nginx_config(folder: Path, port: int, upstream: int, tls: bool) -> str:
    listen = f"listen 127.0.0.1:{port};\n"
    if tls:
        files = f"{folder}/certificate.pem; ssl_certificate_key {folder}/key.pem"
        listen = f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {files};\n"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    return (
        "daemon off; master_process off; worker_processes 1;\n"
        f"pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        "events { worker_connections 256; }\n"
        f"http {{\n  access_log off;\n{paths}"
        f"  upstream gateway {{ server 127.0.0.1:{upstream}; keepalive 16; }}\n"
        f"  server {{\n    {listen}"
        "    location / {\n      proxy_pass http://gateway;\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n    }\n  }\n}\n'
    )


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
