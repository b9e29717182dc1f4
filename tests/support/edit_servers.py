"""A real server of OpenAI's image edits on loopback, which edits: it inverts an image, and writes the seed into its blue."""

import base64
import http.server
import io
import json
import re
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from rethink.editors.settings import DEFAULT_SETTINGS


def png(pixels):
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def answer(data):
    """An edited image as these servers send it."""
    return 200, json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}), {}


def refusal(status, message, **more):
    return status, json.dumps({"error": {"message": message, **more}}), {}


def edit(request):
    """The answer to a request: its first image, inverted, at the size that is asked for."""
    image = Image.open(io.BytesIO(request.images[0])).convert("RGB")
    if "x" in request.fields.get("size", ""):
        image = image.resize(tuple(map(int, request.fields["size"].split("x"))))
    pixels = 255 - np.asarray(image)
    pixels[..., 2] = int(request.fields.get("seed", 0)) % 256
    return answer(png(pixels))


def read_form(kind, body):
    """(fields, images, the name of the images) of a multipart form."""
    boundary = kind.partition("boundary=")[2].encode()
    fields, images, names = {}, [], set()
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)[1].decode()
        if b"filename=" in head:
            images.append(data.removesuffix(b"\r\n"))
            names.add(name)
        else:
            fields[name] = data.removesuffix(b"\r\n").decode()
    return fields, images, names


@contextmanager
def edit_server(port=0):
    """replies: (status, body, headers), or callables that make one of a request; the last one for ever. files: what GET finds,
    bytes, or a callable that makes a reply."""
    here = SimpleNamespace(replies=[edit], requests=[], files={}, gets=[], at_once=0, most_at_once=0)
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            here.gets.append(SimpleNamespace(path=self.path, headers=headers_of(self)))
            found = here.files.get(self.path, lambda: (404, b"{}", {}))
            self.reply(*(found() if callable(found) else (200, found, {})))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fields, images, names = read_form(self.headers["Content-Type"], body)
            request = SimpleNamespace(
                path=self.path, headers=headers_of(self), fields=fields, images=images, names=names
            )
            with lock:
                here.requests.append(request)
                reply = here.replies[min(len(here.requests), len(here.replies)) - 1]
                here.at_once += 1
                here.most_at_once = max(here.most_at_once, here.at_once)
            status, text, headers = reply(request) if callable(reply) else reply
            with lock:
                here.at_once -= 1
            self.reply(status, text.encode() if isinstance(text, str) else text, headers)

        def reply(self, status, data, headers):
            self.send_response(status)
            for name, value in {"Content-Length": len(data), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    running.handle_error = lambda *_: None  # a client that gave up

    def stop():
        running.shutdown()
        running.server_close()

    threading.Thread(target=running.serve_forever, args=[0.02], daemon=True).start()
    here.port, here.stop = running.server_port, stop
    here.origin = f"http://127.0.0.1:{here.port}"
    here.url = f"{here.origin}/v1"
    try:
        yield here
    finally:
        stop()


def headers_of(handler):
    return {name.lower(): value for name, value in handler.headers.items()}


def source(height=96, width=144, batch=1):
    """Images whose inversion is seen to be theirs: smooth, red to the right, green to the bottom."""
    red, green = torch.meshgrid(torch.linspace(0, 1, width), torch.linspace(0, 1, height), indexing="xy")
    one = torch.stack([red, green, torch.zeros_like(red)], -1)
    return torch.stack([one * (1 - 0.3 * number) for number in range(batch)])


def is_inverted(edited, image):
    return (edited[..., :2] - (1 - image[..., :2])).abs().max() < 0.05


def run(editor, image=None, prompts=("make it night",), seeds=(7,), settings=DEFAULT_SETTINGS, **options):
    return editor.edit(
        editor.prepare(source() if image is None else image), list(prompts), list(seeds), settings, **options
    )
