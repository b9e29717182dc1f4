"""Opening a thinker: which backend an address or a folder means, and what a new one takes."""

import sys
from types import SimpleNamespace

import pytest

from rethink.errors import RethinkError
from rethink.thinkers import backends
from rethink.thinkers.critique import Thinker
from rethink.thinkers.loading import (
    BUILT_IN,
    ThinkerConfig,
    can_point,
    find_backend,
    is_same_model,
    list_backends,
    open_chat,
    open_thinker,
    typed_trust,
)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("built-in", "built-in"),
        ("http://127.0.0.1:8000/v1", "server"),
        ("https://api.openai.com/v1", "server"),
        ("models/LLM/Qwen3-VL-8B-Instruct", "local folder"),
        ("built-in-like", "local folder"),
    ],
)
def test_what_is_given_says_which_backend(where, name):
    assert find_backend(where).name == name


def test_every_row_names_options_that_there_are():
    for row in list_backends():
        assert row.help and set(row.options) <= set(vars(ThinkerConfig()))
        assert not row.location or (row.location.name and row.location.help)
    assert len({row.name for row in list_backends()}) == len(list_backends())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timeout": 0}, "timeout: expected 1 to 3600, got 0"),
        ({"max_tokens": 0}, "max_tokens: expected 1 to 131072"),
        ({"temperature": 2.5}, "temperature: expected 0 to 2"),
        ({"dtype": "int8"}, "dtype: “int8” is unknown"),
        ({"quantization": "2bit"}, "quantization: “2bit” is unknown"),
    ],
)
def test_options_have_limits(options, sentence):
    with pytest.raises(RethinkError, match=sentence):
        ThinkerConfig(**options)


def test_nothing_is_no_thinker():
    with pytest.raises(RethinkError, match="^thinker: is empty"):
        open_chat(ThinkerConfig(" "))


def test_a_thinker_that_is_missing_is_called_what_it_is_to_be(tmp_path):
    gone = ThinkerConfig(str(tmp_path / "gone"))
    with pytest.raises(RethinkError, match=r"^thinker: .*gone is not a folder"):
        open_thinker(gone)
    with pytest.raises(RethinkError, match=r"^judge: .*gone is not a folder"):
        open_thinker(gone, role="judge")


def test_only_what_leaves_the_machine_needs_trust(owner):
    assert typed_trust(ThinkerConfig("built-in")) is None and typed_trust(ThinkerConfig("a/folder")) is None
    config = ThinkerConfig("http://192.0.2.1:8000/v1", "m")
    with pytest.raises(RethinkError, match="is not this machine"):
        open_chat(config)
    open_chat(config, typed_trust(config))


OWN = """
from rethink.thinkers.loading import Backend


class Parrot:
    name, placement = "parrot", "elsewhere"

    def chat(self, messages, images, **options):
        return messages[0]["content"][0]["text"]


BACKEND = Backend(
    "parrot", "repeats", recognizes=lambda where: where.endswith("/repeat"), open=lambda config, trust: Parrot()
)
"""


@pytest.mark.parametrize("module", ["a_parrot", "the_parrot"])
def test_a_module_more_is_a_backend_more(tmp_path, monkeypatch, module):
    """Whatever its name, it comes before the backends that take any address and any folder."""
    before = len(list_backends())
    (tmp_path / f"{module}.py").write_text(OWN)
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    list_backends.cache_clear()
    try:
        thinker = open_thinker(ThinkerConfig("http://127.0.0.1:8000/repeat"))
        message = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
        assert thinker.chat.chat([message], []) == "hello"
        assert len(list_backends()) == before + 1
    finally:
        list_backends.cache_clear()
        sys.modules.pop(f"{backends.__name__}.{module}", None)


def test_boxes_are_not_asked_of_a_thinker_with_a_wording_of_its_own():
    for model in (
        SimpleNamespace(name="a model"),
        SimpleNamespace(name=BUILT_IN),
        SimpleNamespace(name="trained from that", only_critiques=True),
    ):
        assert can_point(Thinker(model)) and not can_point(Thinker(model, "{source}{edited}{instruction}"))


def test_a_model_is_known_wherever_it_lies():
    assert is_same_model("models/LLM/qwen", "C:\\llm\\qwen") and not is_same_model("qwen", "gemma")
    assert not is_same_model("qwen", None)
