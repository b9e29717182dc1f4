"""What a server may take: time, bytes, and nobody to any other place. Real sockets on loopback."""

import json
import socket
import threading
import time
import tracemalloc
from contextlib import contextmanager

import pytest

from rethink.servers import exchange as module
from rethink.servers.address import parse_address
from rethink.thinkers.openai_chat import OpenAIChat
from rethink.thinkers.protocol import ThinkerError
from tests.support.servers import completion, drip, listening, openai_server, talk, zeros_packed
from tests.support.thinking import SOURCE
from tests.support.waiting import LATE, SOON


def drip_headers(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: 1\r\n")
        time.sleep(0.1)


def drip_chunks(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1\r\n \r\n")
        time.sleep(0.1)


def say_nothing(connection):
    connection.recv(10)
    time.sleep(LATE)


@pytest.mark.parametrize("answer", [drip_headers, drip_chunks, say_nothing])
def test_the_time_is_for_the_whole_answer_however_it_drips(pauses, answer):
    started = time.monotonic()
    with listening(answer) as port, pytest.raises(ThinkerError, match=r"no answer within 1 s \(after 2 tries\)"):
        talk(f"http://127.0.0.1:{port}/v1", timeout=1, retries=1)
    assert 2 <= time.monotonic() - started < SOON and pauses == [1.0]


def test_a_body_may_come_slowly_but_not_for_ever(server, pauses):
    server.replies = [(200, drip(completion("slow"), 0.5), {}), (200, drip(completion("late"), LATE), {})]
    assert talk(server.url, timeout=SOON) == "slow"
    started = time.monotonic()
    with pytest.raises(ThinkerError, match="no answer within 1 s"):
        talk(server.url, timeout=1)
    assert time.monotonic() - started < SOON


def test_the_time_is_for_finding_the_server_too(pauses, owner, monkeypatch):
    allow(owner, "http://slow.test")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(LATE))
    started = time.monotonic()
    with pytest.raises(ThinkerError, match="no answer within 1 s"):
        talk("http://slow.test/v1", timeout=1, retries=1)
    assert 2 <= time.monotonic() - started < SOON


def test_the_time_is_for_the_connection_too(pauses):
    """One that takes no connection: its queue is full."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        started = time.monotonic()
        with pytest.raises(ThinkerError, match="no answer within 1 s"):
            talk(f"http://127.0.0.1:{full.getsockname()[1]}/v1", timeout=1, retries=1)
        assert time.monotonic() - started < SOON


def test_the_next_address_is_tried_where_one_takes_nothing(server, monkeypatch):
    """localhost is two addresses on most machines, and the server listens on one."""
    port = int(server.url.split(":")[2].split("/")[0])
    assert talk(f"http://localhost:{port}/v1") == "fine"
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    assert talk(f"http://localhost:{port}/v1") == "fine", "nowhere but here, whoever answers for names"


def test_where_servers_listen_is_asked_first(server, monkeypatch):
    """Windows takes two seconds to say that nobody listens at the other one, at every question."""
    port, families = int(server.url.split(":")[2].split("/")[0]), []
    places = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))]
    places.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)))

    class Noted(socket.socket):
        def __init__(self, family=-1, *others, **more):
            families.append(family)
            super().__init__(family, *others, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    monkeypatch.setattr(module.socket, "socket", Noted)
    assert talk(f"http://localhost:{port}/v1") == "fine" and socket.AF_INET6 not in families


@contextmanager
def memory():
    """At most 40 MB more than before; the test's own server is in this process too."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_a_small_answer_does_not_grow_into_a_large_one(server):
    server.replies = [(200, zeros_packed(200), {"Content-Encoding": "gzip"})]
    with memory(), pytest.raises(ThinkerError, match="the answer is longer than 4 MB"):
        talk(server.url, retries=2)
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_of_an_error_s_page_no_more_is_read_than_is_kept(server, headers):
    pages = zeros_packed(50) if headers else (b"<p>no</p> " * 100_000 for _ in range(50))
    server.replies = [(400, pages, headers)]
    with memory(), pytest.raises(ThinkerError, match="error 400") as told:
        talk(server.url)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip", "identity"])
def test_a_packed_answer_is_read(server, encoding):
    import gzip
    import zlib

    pack = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding]
    server.replies = [(200, iter([pack(completion("packed").encode())]), {"Content-Encoding": encoding})]
    assert talk(server.url) == "packed"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip"])
def test_an_answer_packed_in_a_way_that_cannot_be_read_is_said(server, encoding):
    server.replies = [(200, completion("no gzip"), {"Content-Encoding": encoding})]
    with pytest.raises(ThinkerError, match="the answer (is compressed in a way|has an unsupported encoding)"):
        talk(server.url)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_not_followed(server, code):
    with openai_server() as other:
        for place in (f"{other.url}/chat/completions", other.url.replace("127.0.0.1", "localhost")):
            server.replies = [(code, "", {"Location": place})]
            with pytest.raises(ThinkerError, match=rf"redirects \({code}\) to http://\S+, which is not followed"):
                talk(server.url, retries=2)
        server.replies = [(code, "", {"Location": f"https:{server.url.removeprefix('http:')}"})]
        with pytest.raises(ThinkerError, match="which is not followed"):
            talk(server.url)
        assert len(server.requests) == 3 and not other.requests


@pytest.mark.parametrize("place", ["/v2/chat/completions", "../chat/completions?a=b", "{here}/v2"])
def test_a_redirect_within_the_server_is(server, place):
    server.replies = [(307, "", {"Location": place.format(here=server.url)}), (200, completion("moved"), {})]
    assert talk(server.url) == "moved"
    first, second = server.requests
    assert second.body == first.body and second.path != first.path
    server.replies = [(308, "", {"Location": server.requests[0].path})]
    with pytest.raises(ThinkerError, match="redirects in a circle"):
        talk(server.url)


def allow(owner, *hosts):
    owner.parent.mkdir(exist_ok=True)
    owner.write_text(json.dumps({"hosts": hosts}))


def test_why_a_request_is_too_large_is_heard_though_it_was_not_read(pauses):
    def refuse(connection):
        connection.recv(100)
        connection.sendall(b'HTTP/1.1 413 Too Large\r\nContent-Length: 23\r\n\r\n{"error": "too large!"}')
        time.sleep(0.5)

    with listening(refuse) as port, pytest.raises(ThinkerError, match="error 413: too large!"):
        messages = [{"role": "user", "content": [{"type": "text", "text": "x" * 9_000_000}]}]
        OpenAIChat(f"http://127.0.0.1:{port}/v1", "m", retries=0).chat(
            messages, [SOURCE], max_tokens=9, seed=0, temperature=0
        )


def test_a_connection_that_is_aborted_while_sending_still_says_why(server, pauses, monkeypatch):
    """As Windows puts it where other systems say that the pipe is broken."""
    send = module.Wire.sendall

    def abort(wire, data):
        send(wire, data)
        if data == b"{}":
            raise ConnectionAbortedError(10053, "An established connection was aborted")

    server.replies = [(413, '{"error": "too large!"}', {})]
    monkeypatch.setattr(module.Wire, "sendall", abort)
    origin, path = parse_address(server.url)
    reply = module.exchange("POST", origin, f"{path}/chat/completions", {}, b"{}", module.Limit(SOON))
    assert reply.status == 413 and b"too large!" in reply.data


def test_what_is_no_web_server_is_said(pauses):
    with listening(lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")) as port:
        with pytest.raises(ThinkerError, match="cannot be reached|does not answer like a web server"):
            talk(f"http://127.0.0.1:{port}/v1")
        with pytest.raises(ThinkerError, match="cannot be reached"):
            talk(f"https://127.0.0.1:{port}/v1")


def test_an_exchange_that_nobody_waits_for_ends(server):
    origin, path = parse_address(server.url)
    server.replies = [lambda body: time.sleep(LATE) or (200, completion("late"), {})]
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    started = time.monotonic()
    with pytest.raises(module.TimeIsUp):
        module.exchange("POST", origin, f"{path}/chat/completions", {}, b"{}", module.Limit(LATE, over))
    assert time.monotonic() - started < SOON


def test_an_exchange_that_nobody_waits_for_ends_while_the_server_does_not_read(pauses):
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    started = time.monotonic()
    with listening(lambda connection: time.sleep(LATE)) as port, pytest.raises(module.TimeIsUp):
        origin, _ = parse_address(f"http://127.0.0.1:{port}")
        module.exchange("POST", origin, "/", {}, bytes(50_000_000), module.Limit(LATE, over))
    assert time.monotonic() - started < SOON
