"""Serve the page of a comparison from its folder, to this machine only, and write votes there: `rethink vote`.

The page is sent without its images and requests those in view: the files themselves, at full size.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..errors import RethinkError
from ..records import parse_json
from .edits import EDITS, SOURCES
from .page import PAGE, page_without_images
from .votes import append_votes, vote_log

HOST = "127.0.0.1"
LARGEST_BODY = 2**20  # bytes
IMAGE = re.compile(rf"/(?:{SOURCES}|{EDITS})/[0-9A-Za-z-]+\.png")


class VoteServer(ThreadingHTTPServer):
    """Serves one folder. Raises RethinkError if it contains no comparison, or if the port is taken."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # on Windows, it would share a port that is taken

    def __init__(self, folder: Path, port: int = 0):
        if not (folder / PAGE).is_file():
            raise RethinkError(f"folder: {folder} has no {PAGE}; run `rethink compare` with -o {folder} first.")
        self.folder = folder
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise RethinkError(
                f"port: {port} cannot be used: {error.strerror}; choose another, or 0 for any free port."
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing when a browser disconnects in the middle of a page; the base class prints a traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """The URL of the page."""
        return f"http://{HOST}:{self.server_address[1]}/"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve in a separate thread; yields the address."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self.address
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: VoteServer

    def do_GET(self) -> None:
        if not self._is_for_us():
            self._answer(HTTPStatus.FORBIDDEN, {"error": "This server is for this machine only."})
        elif self.path in ("/", f"/{PAGE}"):
            self._send_file(PAGE, "text/html; charset=utf-8", lambda: page_without_images(self.server.folder))
        elif self.path == "/votes":
            self._answer(HTTPStatus.OK, {"votes": list(vote_log(self.server.folder))})
        elif IMAGE.fullmatch(self.path):
            self._send_file(self.path[1:], "image/png", lambda: (self.server.folder / self.path[1:]).read_bytes())
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "There is nothing here."})

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        plain = self.headers.get("Content-Type", "").split(";")[0].strip() == "application/json"
        if not (self._is_for_us() and self._is_own_page() and plain):
            self._answer(HTTPStatus.FORBIDDEN, {"error": "Votes are accepted only from the page itself."})
        elif self.path != "/votes":
            self._answer(HTTPStatus.NOT_FOUND, {"error": "There is nothing here."})
        elif not size.isdecimal() or int(size) > LARGEST_BODY:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "votes: too many at once."})
        else:
            self._take(self.rfile.read(int(size)))

    def _send_file(self, name: str, kind: str, read: Callable[[], bytes]) -> None:
        try:
            data = read()
        except OSError as error:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"{name} cannot be read: {error.strerror}."})
        else:
            self._send(HTTPStatus.OK, kind, data)

    def _take(self, body: bytes) -> None:
        try:
            record = parse_json(body)
            written = append_votes(self.server.folder, record.get("votes") if isinstance(record, dict) else None)
            self._answer(HTTPStatus.OK, {"written": written})
        except (RethinkError, ValueError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except OSError as error:
            self._answer(HTTPStatus.INSUFFICIENT_STORAGE, {"error": f"votes: cannot be written: {error.strerror}."})

    def _is_for_us(self) -> bool:
        """Whether the request uses the server's own name: any other name that leads here belongs to another site."""
        port = self.server.server_address[1]
        return self.headers.get("Host", "") in (f"{HOST}:{port}", f"localhost:{port}")

    def _is_own_page(self) -> bool:
        return self.headers.get("Origin", "") in ("", f"http://{self.headers.get('Host', '')}")

    def _answer(self, status: HTTPStatus, record: dict) -> None:
        self._send(status, "application/json", json.dumps(record).encode())

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing for requests."""
