"""Mistakes in one sentence, and packages that are missing."""

import pytest

from rethink.errors import OutOfMemoryError, RethinkError, describe_error, lazy_import, reason_of


def test_a_missing_package_is_named():
    assert lazy_import("json").dumps({}) == "{}"
    with pytest.raises(RethinkError, match="pip install some-package"):
        lazy_import("rethink_no_such_module", "some-package")
    with pytest.raises(RethinkError, match="pip install rethink_no_such_module"):
        lazy_import("rethink_no_such_module.inner")


def test_our_own_sentence_stands_alone_and_any_other_says_its_kind():
    assert describe_error(OutOfMemoryError("Lower the size.")) == "Lower the size."
    assert describe_error(KeyError("x")) == "KeyError: 'x'"


def test_a_reason_is_in_words_without_number_and_file():
    assert reason_of(OSError(28, "No space left on device", "a.html")) == "No space left on device"
    assert reason_of(ValueError("it is no text")) == "it is no text"
