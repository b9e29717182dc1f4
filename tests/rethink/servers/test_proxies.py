"""The way to a server through a proxy, or past it. Real sockets on loopback."""

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from rethink.errors import RethinkError
from rethink.servers import exchange as module
from rethink.thinkers.openai_chat import OpenAIChat
from rethink.thinkers.protocol import ThinkerError
from tests.support.servers import completion, listening, talk


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
    with pytest.raises(RethinkError, match="through the proxy in all_proxy; use one") as told:
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
