"""A real OpenAI-compatible server on loopback that says what it is told to."""

import http.server
import json
import threading
from contextlib import contextmanager
from types import SimpleNamespace


def completion(text, **more):
    message = {"role": "assistant", "content": text, **more}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message}]}
    )


@contextmanager
def openai_server():
    """An OpenAI-compatible server: `replies` are (status, body, headers) or callables, the last one for ever.

    models: the names that it lists; None: it has no list.
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
            data = text.encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.handle_error = lambda *_: None  # a client that gave up
    threading.Thread(target=running.serve_forever, daemon=True).start()
    here.url = f"http://127.0.0.1:{running.server_port}/v1"
    yield here
    running.shutdown()
    running.server_close()
