"""Sentences of all operations, in one table."""

import re

import pytest

from rethink.pairs.inverse.operations import OPERATIONS
from rethink.pairs.inverse.templates import TEMPLATES

BRITISH = re.compile(r"colour|grey|centre|\w{3,}[iy]s(?:e|ed|ing|ation)\b", re.IGNORECASE)
ALIKE = {"noise", "otherwise", "precise", "raise", "exercise"}


def test_every_operation_and_the_editor_have_sentences():
    assert {name.partition("/")[0] for name in TEMPLATES} == {*OPERATIONS, "editor"}
    assert all(len(set(templates)) >= 4 for templates in TEMPLATES.values())


@pytest.mark.parametrize("name", TEMPLATES)
def test_sentences_are_spelled_as_the_field_does(name):
    """What stands in braces is a name, which users' own templates have too."""
    words = " ".join(re.sub(r"\{.*?\}", "", template) for template in TEMPLATES[name])
    assert set(map(str.lower, BRITISH.findall(words))) <= ALIKE
