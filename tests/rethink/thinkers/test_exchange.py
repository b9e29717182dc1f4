"""What a server may take: time, bytes, and nobody to any other place. Real sockets on loopback."""

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from contextlib import contextmanager, suppress

import pytest

from rethink.errors import RethinkError
from rethink.thinkers import exchange as module
from rethink.thinkers.address import parse_address
from rethink.thinkers.openai_chat import OpenAIChat
from rethink.thinkers.protocol import ThinkerError
from tests.support.servers import SOON, completion, drip, openai_server, zeros_packed
from tests.support.thinking import SOURCE

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]


@pytest.fixture
def server():
    with openai_server() as running:
        yield running


@pytest.fixture
def pauses(monkeypatch):
    rests = []
    monkeypatch.setattr("rethink.thinkers.openai_chat._sleep", lambda seconds, over: rests.append(seconds))
    return rests


def talk(address, **options):
    options = {"timeout": 5.0, "retries": 0} | options
    return OpenAIChat(address, "m", **options).chat(MESSAGES, [], max_tokens=9, seed=0, temperature=0)


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
    time.sleep(60)


@pytest.mark.parametrize("answer", [drip_headers, drip_chunks, say_nothing])
def test_the_time_is_for_the_whole_answer_however_it_drips(pauses, answer):
    started = time.monotonic()
    with listening(answer) as port, pytest.raises(ThinkerError, match=r"no answer within 1 s \(after 2 tries\)"):
        talk(f"http://127.0.0.1:{port}/v1", timeout=1, retries=1)
    assert 2 <= time.monotonic() - started < SOON and pauses == [1.0]


def test_a_body_may_come_slowly_but_not_for_ever(server, pauses):
    server.replies = [(200, drip(completion("slow"), 0.5), {}), (200, drip(completion("late"), 60), {})]
    assert talk(server.url, timeout=20) == "slow"
    started = time.monotonic()
    with pytest.raises(ThinkerError, match="no answer within 1 s"):
        talk(server.url, timeout=1)
    assert time.monotonic() - started < SOON


def test_the_time_is_for_finding_the_server_too(pauses, owner, monkeypatch):
    allow(owner, "http://slow.test")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(60))
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
    with pytest.raises(ThinkerError, match="the answer is packed in a way"):
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


@pytest.fixture
def proxies(monkeypatch):
    """proxies(all_proxy="…"): the environment names these proxies alone."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return lambda **named: [monkeypatch.setenv(name, value) for name, value in named.items()]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:9", "socks://127.0.0.1:9/", "socks5://127.0.0.1:9", "junk://x", "http://["]
)
def test_a_server_on_this_machine_is_asked_without_a_proxy(server, proxies, host, proxy):
    proxies(ALL_PROXY=proxy, http_proxy=proxy, HTTPS_PROXY=proxy)
    assert talk(server.url.replace("127.0.0.1", host)) == "fine"


@pytest.mark.parametrize(
    "proxy", ["socks4://127.0.0.1:9", "https://127.0.0.1:9", "junk://me:secret@x", "http://[", "http://"]
)
def test_a_proxy_that_cannot_be_used_is_said_before_anything_is_edited(proxies, owner, proxy):
    allow(owner, "http://llm.test")
    proxies(all_proxy=proxy)
    with pytest.raises(RethinkError, match="through the proxy that all_proxy names; use one") as told:
        OpenAIChat("http://llm.test/v1", "m")
    assert "secret" not in str(told.value)
    proxies(no_proxy="llm.test")
    OpenAIChat("http://llm.test/v1", "m")


def test_a_proxy_forwards(server, proxies, owner):
    allow(owner, "http://llm.test:8000")
    proxies(http_proxy=f"http://me:p%40ss@{server.url.split('/')[2]}")
    assert talk("http://llm.test:8000/v1") == "fine"
    (request,) = server.requests
    assert request.path == "http://llm.test:8000/v1/chat/completions" and request.headers["host"] == "llm.test:8000"
    assert base64.b64decode(request.headers["proxy-authorization"].split()[1]) == b"me:p@ss"


def test_a_proxy_that_opens_no_way_is_said(proxies, owner, pauses):
    asked = []

    def refuse(connection):
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    allow(owner, "https://llm.test")
    with listening(refuse) as port:
        proxies(HTTPS_PROXY=f"127.0.0.1:{port}")
        with pytest.raises(ThinkerError, match=r"by the proxy of HTTPS_PROXY, it says HTTP/1.1 407"):
            talk("https://llm.test/v1")
    assert asked[0].startswith(b"CONNECT llm.test:443 HTTP/1.1\r\nHost: llm.test:443\r\n")


def pipe(source, target):
    """Closing a socket that another thread waits at sends nothing: its end is told to `target` itself."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    finally:
        target.shutdown(socket.SHUT_RDWR)


def whole_request(connection):
    """Head and body: who closes with something unread may take its own answer back (TCP resets)."""
    with connection.makefile("rb") as file:
        head = b"".join(iter(file.readline, b"\r\n"))
        length = next(
            int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")
        )
        return head + file.read(length)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_https_goes_through_a_proxy_unread_and_to_nobody_who_only_pretends(
    proxies, owner, pauses, tmp_path, monkeypatch
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=llm.test"]
    made += ["-addext", "subjectAltName=DNS:llm.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard = []

    def answer(connection):
        with context.wrap_socket(connection, server_side=True) as secure:
            heard.append(whole_request(secure))
            body = completion("secretly").encode()
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def forward(connection):
        heard.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as far:
            threading.Thread(target=pipe, args=[connection, far], daemon=True).start()
            pipe(far, connection)

    allow(owner, "https://llm.test")
    with listening(answer) as port, listening(forward) as way:
        proxies(https_proxy=f"http://127.0.0.1:{way}")
        module._certificates.cache_clear()
        with pytest.raises(ThinkerError, match="cannot be reached .*certificate verify failed"):
            talk("https://llm.test/v1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        module._certificates.cache_clear()
        heard.clear()
        assert talk("https://llm.test/v1") == "secretly"
        module._certificates.cache_clear()
    assert heard[0].startswith(b"CONNECT llm.test:443") and heard[1].startswith(
        b"POST /v1/chat/completions HTTP/1.1\r\n"
    )
    assert b"Host: llm.test\r\n" in heard[1]


@pytest.mark.parametrize("user", ["", "me:secret@"])
@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h"])
def test_a_socks_proxy_is_gone_through(server, proxies, owner, scheme, user):
    """It looks up the name itself."""
    asked = []

    def forward(connection):
        greeting = connection.recv(4)
        connection.sendall(b"\5\2" if 2 in greeting[2:] else b"\5\0")
        if 2 in greeting[2:]:
            asked.append(connection.recv(600))
            connection.sendall(b"\1\0")
        asked.append(connection.recv(600))
        connection.sendall(b"\5\0\0\1\0\0\0\0\0\0")
        with socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))) as far:
            threading.Thread(target=pipe, args=[connection, far], daemon=True).start()
            pipe(far, connection)

    allow(owner, "http://llm.test:8000")
    with listening(forward) as port:
        proxies(ALL_PROXY=f"{scheme}://{user}127.0.0.1:{port}/")
        assert talk("http://llm.test:8000/v1") == "fine"
    login = [b"\1\2me\6secret"] if user else []
    assert asked == [*login, b"\5\1\0\3\x08llm.test" + (8000).to_bytes(2, "big")]
    assert server.requests[0].path == "/v1/chat/completions"


def test_a_socks_proxy_that_refuses_is_said(proxies, owner, pauses):
    def refuse(connection):
        connection.recv(4)
        connection.sendall(b"\5\0")
        connection.recv(600)
        connection.sendall(b"\5\5\0\1\0\0\0\0\0\0")

    allow(owner, "http://llm.test:8000")
    with listening(refuse) as port:
        proxies(ALL_PROXY=f"socks5://127.0.0.1:{port}")
        with pytest.raises(ThinkerError, match="by the proxy of ALL_PROXY, the connection was refused"):
            talk("http://llm.test:8000/v1")


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


def test_what_is_no_web_server_is_said(pauses):
    with listening(lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")) as port:
        with pytest.raises(ThinkerError, match="cannot be reached|does not answer as a web server"):
            talk(f"http://127.0.0.1:{port}/v1")
        with pytest.raises(ThinkerError, match="cannot be reached"):
            talk(f"https://127.0.0.1:{port}/v1")


def test_an_exchange_that_nobody_waits_for_ends(server):
    origin, path = parse_address(server.url)
    server.replies = [lambda body: time.sleep(60) or (200, completion("late"), {})]
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    started = time.monotonic()
    with pytest.raises(module.TimeIsUp):
        module.exchange("POST", origin, f"{path}/chat/completions", {}, b"{}", module.Limit(60, over))
    assert time.monotonic() - started < SOON
