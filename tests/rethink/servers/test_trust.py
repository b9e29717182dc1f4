"""Keys and pictures go where the owner of this machine allows, and addresses have no second spelling that leads elsewhere."""

import json
from pathlib import Path

import pytest

from rethink.errors import RethinkError
from rethink.servers.address import Origin, parse_address
from rethink.servers.trust import PROVIDERS, Trust, allow_images, read_trust, settings_file
from rethink.thinkers.loading import ThinkerConfig, open_chat, typed_trust
from rethink.thinkers.openai_chat import OpenAIChat


def origin(url):
    return parse_address(url)[0]


NOBODY = Trust(Path("servers.json"))


@pytest.mark.parametrize("variable", PROVIDERS)
def test_a_provider_s_own_variable_goes_to_that_provider(variable):
    for host in PROVIDERS[variable]:
        assert NOBODY.allows_key(variable, origin(f"https://{host}/v1"))
        for other in (
            f"http://{host}/v1",
            f"https://{host}:8443/v1",
            f"https://{host}.evil.example",
            f"https://evil{host}",
        ):
            assert not NOBODY.allows_key(variable, origin(other))


def test_a_provider_s_key_goes_to_no_other_and_other_variables_go_nowhere():
    assert not NOBODY.allows_key("OPENAI_API_KEY", origin("https://openrouter.ai/api/v1"))
    for variable in ("AWS_SECRET_ACCESS_KEY", "PATH", "openai_api_key"):
        for address in ("https://api.openai.com/v1", "http://127.0.0.1:8000/v1", "https://evil.example"):
            assert not NOBODY.allows_key(variable, origin(address))


def write(owner, record):
    owner.parent.mkdir(exist_ok=True)
    owner.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")


def test_the_owner_allows_in_a_settings_file(owner):
    assert read_trust() == Trust(owner), "nothing, where there is none"
    write(
        owner, {"hosts": ["llm.example.com", "http://192.168.1.5:8000"], "keys": {"MY_KEY": "https://keys.example.com"}}
    )
    trust = read_trust()
    for address in ("https://llm.example.com/v1", "http://192.168.1.5:8000/v1", "https://keys.example.com/v1"):
        assert trust.allows_images(origin(address))
    for address in (
        "http://llm.example.com/v1",
        "http://192.168.1.5/v1",
        "https://a.llm.example.com/v1",
        "https://api.openai.com",
    ):
        assert not trust.allows_images(origin(address))
    assert trust.allows_key("MY_KEY", origin("https://keys.example.com")) and trust.allows_images(
        origin("http://[::1]:1")
    )
    assert not trust.allows_key("MY_KEY", origin("https://llm.example.com"))
    assert not trust.allows_key("OTHER", origin("https://keys.example.com"))


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        {"hosts": "a b"},
        {"hosts": [7]},
        {"hosts": {"a": 1}},
        {"keys": []},
        {"keys": {"A": None}},
        {"hosts": ["https://me:pass@host"]},
        {"hosts": ["https://host/v1"]},
        {"hosts": ["*"]},
    ],
)
def test_settings_that_cannot_be_read_are_said_with_their_file(owner, record):
    write(owner, record)
    with pytest.raises(RethinkError, match="servers.json: "):
        read_trust()


def test_a_host_is_added_to_what_is_there(owner):
    allow_images(owner, Origin("https", "a.example", 443))
    write(owner, {**json.loads(owner.read_text("utf-8")), "keys": {"MY_KEY": ["b.example"]}, "note": "größer"})
    for _ in range(2):
        allow_images(owner, Origin("http", "c.example", 8000))
    record = {
        "hosts": ["https://a.example", "http://c.example:8000"],
        "keys": {"MY_KEY": ["b.example"]},
        "note": "größer",
    }
    assert json.loads(owner.read_text("utf-8")) == record
    assert [file.name for file in owner.parent.iterdir()] == ["servers.json"]


def test_the_settings_lie_where_the_variable_says_or_in_the_users_folder(owner, monkeypatch, tmp_path):
    assert settings_file() == settings_file(tmp_path) == owner
    monkeypatch.delenv("RETHINK_SERVERS")
    monkeypatch.delenv("APPDATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_file() == tmp_path / "rethink" / "servers.json" and settings_file(owner) == owner


def test_without_a_word_of_the_owner_no_key_is_sent_and_the_line_to_add_works(server, owner, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "planted-0123456789")
    with pytest.raises(RethinkError, match="^key_variable: MY_SECRET is not paired with http://127.0.0.1:") as refused:
        OpenAIChat(server.url, "m", "MY_SECRET")
    assert "planted" not in str(refused.value) and not server.requests
    line, file = str(refused.value).removesuffix(".").split("add ")[1].split(" to ")
    assert Path(file) == owner
    write(owner, line)
    chat = OpenAIChat(server.url, "m", "MY_SECRET")
    chat.chat(
        [{"role": "user", "content": [{"type": "text", "text": "hello"}]}], [], max_tokens=9, seed=0, temperature=0
    )
    assert server.requests[0].headers["authorization"] == "Bearer planted-0123456789"


def test_without_a_word_of_the_owner_no_picture_is_sent_and_the_line_to_add_works(owner):
    for address in ("http://192.0.2.1:8000/v1", "https://api.openai.com/v1"):
        with pytest.raises(RethinkError, match="^base_url: http.* is not this machine") as refused:
            OpenAIChat(address, "m")
        line, file = str(refused.value).removesuffix(".").split("add ")[1].split(" to ")
        assert Path(file) == owner
        write(owner, line)
        OpenAIChat(address, "m")


def test_what_the_owner_types_they_allow(owner, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "planted-0123456789")
    config = ThinkerConfig("http://192.0.2.1:8000/v1", "m", " MY_SECRET ")
    open_chat(config, typed_trust(config))
    with pytest.raises(RethinkError, match="is not paired"):
        OpenAIChat("http://192.0.2.1:8000/v1", "m", "MY_SECRET")
    assert not owner.exists()
