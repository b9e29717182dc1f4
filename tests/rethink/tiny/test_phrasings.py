"""Wordings that are held out differ from the known ones, and consist of known words."""

import re

from rethink.tiny.tasks import TABLES


def test_held_out_wordings_are_others():
    for tables in TABLES.values():
        known, held_out = (
            {line for lines in tables[name].values() for line in lines} for name in ("known", "held_out")
        )
        assert tables["known"].keys() == tables["held_out"].keys() and not known & held_out


def test_held_out_wordings_use_known_words_only():
    for tables in TABLES.values():
        known, held_out = (
            {word for lines in tables[name].values() for line in lines for word in re.findall(r"[\w'-]+", line)}
            for name in ("known", "held_out")
        )
        assert held_out <= known, held_out - known
