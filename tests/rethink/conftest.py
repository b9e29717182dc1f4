"""What tests of several rooms start with: a folder of images, a chat that says what it is told to, a miniature
CLIP, a server on loopback that is asked again without waiting."""

import pytest
from PIL import Image

from tests.support.miniatures import write_clip
from tests.support.pairs import ScriptedChat, draw_image
from tests.support.servers import openai_server


@pytest.fixture
def scripted():
    return ScriptedChat


@pytest.fixture
def server():
    """A chat on loopback."""
    with openai_server() as running:
        yield running


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that were waited before other tries to reach a server, in no time."""
    rests = []
    monkeypatch.setattr("rethink.servers.client._sleep", lambda seconds, over: rests.append(seconds))
    return rests


@pytest.fixture
def folder(tmp_path):
    """Six images in a folder."""
    root = tmp_path / "photos"
    root.mkdir()
    for index in range(6):
        Image.fromarray(draw_image(seed=index)).save(root / f"photo {index}.png")
    return root


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A miniature CLIPModel with random weights."""
    return write_clip(tmp_path_factory.mktemp("clip"))
