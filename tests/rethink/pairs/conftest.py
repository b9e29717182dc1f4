"""A folder of images, a chat that says what it is told to, and a miniature CLIP."""

import pytest
from PIL import Image

from tests.support.pairs import ScriptedChat, draw_image


@pytest.fixture
def scripted():
    return ScriptedChat


@pytest.fixture
def folder(tmp_path):
    """Six images in a folder."""
    root = tmp_path / "photos"
    root.mkdir()
    for index in range(6):
        Image.fromarray(draw_image(seed=index)).save(root / f"photo {index}.png")
    return root
