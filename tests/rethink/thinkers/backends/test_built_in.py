"""The built-in thinker."""

import pytest

from rethink.builtin import THINKER_FOLDER
from rethink.thinkers.critique import Thinker
from rethink.thinkers.loading import (
    open_thinker,
)


@pytest.mark.skipif(not THINKER_FOLDER.exists(), reason="the built-in thinker is not trained yet")
def test_the_built_in_thinker_is_named_as_it_is_chosen():
    thinker = open_thinker()
    assert isinstance(thinker, Thinker) and thinker.chat.name == "built-in" and thinker.chat.placement == "movable"
