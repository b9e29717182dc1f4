"""Addresses have no second spelling that leads elsewhere."""

from pathlib import Path, PureWindowsPath

import pytest

from rethink.errors import RethinkError
from rethink.servers.address import is_address, parse_address


def origin(url):
    return parse_address(url)[0]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://API.OpenAI.com/v1/", "https://api.openai.com"),
        ("https://api.openai.com:443/v1", "https://api.openai.com"),
        ("https://api.openai.com./v1", "https://api.openai.com"),
        ("http://host:8000/v1", "http://host:8000"),
        ("https://bücher.example/v1", "https://xn--bcher-kva.example"),
        ("https://ａｐｉ.openai.com", "https://api.openai.com"),
        ("http://[0:0:0:0:0:0:0:1]:8000/v1", "http://[::1]:8000"),
        ("http://[::ffff:127.0.0.1]/v1", "http://127.0.0.1"),
        (" https://api.openai.com/v1/chat/completions ", "https://api.openai.com"),
        ("http://１２７.0.0.1", "http://127.0.0.1"),
        ("https://аpi.openai.com", "https://xn--pi-6kc.openai.com"),
    ],
)
def test_an_address_is_written_in_one_way(url, address):
    assert str(origin(url)) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/v1",
        "http://0x7f.0.0.1/v1",
        "http://127.1/v1",
        "http://0177.0.0.1/v1",
        "http://017700000001",
        "http://127.0.0.1\\@evil.example/v1",
        "http://a b/v1",
        "http://%6cocalhost/v1",
        "http://host:0/v1",
        "http://:80/",
        "http://[::1%25lo]/v1",
        "http://[::1/v1",
        "https://evil.example\\.openai.com",
        "http://a..b/",
        "ftp://host/v1",
        "http://me@host/v1",
        "https://api.openai.com@evil.example/v1",
        "https://host/v1#x",
        "http://host:99999/v1",
        "//host/v1",
    ],
)
def test_what_could_be_read_in_two_ways_is_no_address(url):
    with pytest.raises(RethinkError, match="^base_url: "):
        origin(url)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("[::1]", True),
        ("0.0.0.0", True),
        ("[::ffff:127.0.0.1]", True),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("local", False),
        ("[::2]", False),
        ("evil-localhost", False),
    ],
)
def test_this_machine_is_known_by_its_addresses_alone(host, is_local):
    assert origin(f"http://{host}/v1").is_local is is_local


def test_an_address_is_told_from_a_path():
    assert all(map(is_address, ("http://127.0.0.1:9/v1", " HTTPS://host ", str(Path("http://host/v1")))))
    assert is_address(str(PureWindowsPath("http://host/v1")))
    assert not any(map(is_address, ("models/http", "built-in", r"C:\models", "https")))


@pytest.mark.parametrize("ending", ["", "/", "/chat/completions", "/images/edits/"])
def test_the_path_may_be_the_one_of_the_manual(ending):
    assert parse_address(f"http://127.0.0.1:8000/v1{ending}")[1] == "/v1"
