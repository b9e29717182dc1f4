"""Real servers on loopback: one in OpenAI's language that says what it is told to, in whole, packed, or drop by drop; a bare
one; and what asks them."""

import http.server
import json
import socket
import sys
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from types import SimpleNamespace

from rethink.thinkers.openai_chat import OpenAIChat

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]


def completion(text, **more):
    message = {"role": "assistant", "content": text, **more}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message}]}
    )


def drip(text, seconds, pieces=100):
    """The body of a reply that comes in many pieces over so many seconds."""
    data = text.encode()
    size = -(-len(data) // pieces)
    for start in range(0, len(data), size):
        yield data[start : start + size]
        time.sleep(seconds / pieces)


def zeros_packed(megabytes):
    """The body of a reply that is small, and grows to so many megabytes of zeros when it is unpacked."""
    packer = zlib.compressobj(9, wbits=31)
    for _ in range(megabytes):
        yield packer.compress(bytes(2**20))
    yield packer.flush()


@contextmanager
def openai_server():
    """An OpenAI-compatible server: `replies` are (status, body, headers) or callables, the last one for ever.

    A body is a text, or an iterator over its bytes. models: the names that it lists; None: it has no list.
    """
    here = SimpleNamespace(models=None, replies=[(200, completion("fine"), {})], requests=[], at_once=0, most_at_once=0)
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if here.models is None or not self.path.endswith("/v1/models"):
                return self.send_error(404)
            data = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in here.models]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(data.encode())

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                here.requests.append(
                    SimpleNamespace(
                        path=self.path, body=body, headers={name.lower(): value for name, value in self.headers.items()}
                    )
                )
                number = min(len(here.requests), len(here.replies)) - 1
                here.at_once += 1
                here.most_at_once = max(here.most_at_once, here.at_once)
            reply = here.replies[number]
            status, text, headers = reply(body) if callable(reply) else reply
            with lock:
                here.at_once -= 1
            pieces = [text.encode()] if isinstance(text, str) else text
            length = {"Content-Length": len(pieces[0])} if isinstance(text, str) else {}  # else until it is closed
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **length, **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece)

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.handle_error = lambda *_: None  # a client that gave up
    threading.Thread(target=running.serve_forever, args=[0.02], daemon=True).start()  # it ends as soon
    here.url = f"http://127.0.0.1:{running.server_port}/v1"
    yield here
    running.shutdown()
    running.server_close()


def talk(address, **options):
    return OpenAIChat(address, "m", **{"retries": 0} | options).chat(MESSAGES, [], max_tokens=9, seed=0, temperature=0)


@contextmanager
def held_port():
    """A port at which nothing listens. On Linux nobody else is given it meanwhile, and who takes it with SO_REUSEADDR, as servers
    do, may; other systems would not let them."""
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
        if sys.platform != "linux":
            place.close()
        yield port


@contextmanager
def listening(answer):
    """A bare server: `answer(connection)` for each that comes; the port. What is raised in it ends that connection."""
    place = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection, suppress(OSError):
            answer(connection)

    def accept():
        while True:
            try:
                threading.Thread(target=serve, args=[place.accept()[0]], daemon=True).start()
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield place.getsockname()[1]
    finally:
        place.shutdown(socket.SHUT_RDWR)
        place.close()
