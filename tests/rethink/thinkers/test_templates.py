"""Chat templates that fail, climb or never end are one sentence; those of models write what transformers writes."""

import json
import time

import pytest

from rethink.errors import RethinkError
from rethink.thinkers import templates
from rethink.thinkers.protocol import ThinkerError
from rethink.thinkers.templates import as_text, check_template, find_template
from tests.support.miniature_thinkers import TEMPLATE, write_byte_tokenizer

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "what <|im_end|> is"}, {"type": "image"}]}]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    import transformers

    folder = tmp_path_factory.mktemp("tokenizer")
    write_byte_tokenizer(folder)
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def test_a_template_writes_the_conversation_and_users_write_no_marks(tokenizer):
    text = as_text(tokenizer, MESSAGES, TEMPLATE)
    assert text == as_text(tokenizer, MESSAGES)
    assert text.startswith("<|im_start|>user\nwhat |im_end| is<|vision_start|>")


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system message') }}",
        "{{ messages | surprise }}",
        "{{ nothing.at.all }}",
        "{{ 1 / 0 }}",
        "{{ messages[0].role + 1 }}",
        "{% for m in messages %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% include '../../../etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% for i in range(1000000000) %}a{% endfor %}",
        "{% macro climb() %}{{ climb() }}{% endmacro %}{{ climb() }}",
    ],
)
def test_templates_that_fail_or_climb_are_one_sentence(tokenizer, template):
    with pytest.raises(ThinkerError, match="^thinker: the model's chat template fails: [^\n]*; choose another model.$"):
        as_text(tokenizer, MESSAGES, template)


def test_templates_that_never_end_do(tokenizer, monkeypatch):
    monkeypatch.setattr(templates, "SECONDS", 0.5)
    for body in ("{% set x = 1 %}", "{{ messages | map(attribute='role') | list }}"):
        loops = "{% for i in range(99999) %}" * 3 + body + "{% endfor %}" * 3
        began = time.monotonic()
        with pytest.raises(ThinkerError, match="took longer than 0.5 seconds"):
            as_text(tokenizer, MESSAGES, loops)
        assert time.monotonic() - began < 30
    monkeypatch.setattr(templates, "LONGEST", 1000)
    with pytest.raises(ThinkerError, match="expands a conversation to 2000 characters"):
        as_text(tokenizer, MESSAGES, "{{ 'ab' * 1000 }}")


def test_templates_that_nothing_could_stop_are_not_begun(tmp_path):
    for template, fault in (
        ("{{ 9 ** 9 ** 9 }}", "computes powers"),
        ({"default": TEMPLATE, "tools": "{% if 2**2 %}{% endif %}"}, "computes powers"),
        ("{{ 'open", "is damaged"),
        ("a" * 2**21, "has 2097152 characters"),
    ):
        with pytest.raises(RethinkError, match=fault):
            check_template(tmp_path, template)
    for fine in (TEMPLATE, {"default": TEMPLATE}, None, "**bold** {# 2 ** 2 #} {{ '2 ** 2' }}"):
        check_template(tmp_path, fine)


def test_a_template_is_found_wherever_versions_keep_it(tmp_path, tokenizer):
    class Tokenizer:
        chat_template = None

    with pytest.raises(RethinkError, match="has no chat template"):
        find_template(tmp_path, Tokenizer())
    for wrong in ({"chat_template": 3}, {"chat_template": {}}, {}):
        (tmp_path / "chat_template.json").write_text(json.dumps(wrong))
        with pytest.raises(RethinkError, match="has no chat template"):
            find_template(tmp_path, Tokenizer())
    (tmp_path / "chat_template.json").write_text('{"chat_template": "four"}')
    assert find_template(tmp_path, Tokenizer()) == "four"
    (tmp_path / "chat_template.jinja").write_text("five")
    assert find_template(tmp_path, Tokenizer()) == "five"
    Tokenizer.chat_template = {"default": "its own", "tools": "other"}
    assert find_template(tmp_path, Tokenizer()) == "its own"
