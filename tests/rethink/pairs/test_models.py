"""Models that are known by name before they are loaded."""

import pytest

from rethink.pairs.models import LazyClip, ModelSource, model_id


def test_a_model_is_opened_when_it_is_asked_for_and_once_where_it_is_opened_first():
    loads = []
    source = ModelSource("m", lambda: loads.append(1) or object(), concurrency=3)
    assert not loads and source.load() is not source.load() and len(loads) == 2
    loaded = source.load_now()
    assert loaded.load() is loaded.load() and len(loads) == 3
    assert (loaded.name, loaded.concurrency) == ("m", 3)


def test_what_is_wrong_with_a_model_is_raised_where_it_is_opened():
    def fail():
        raise ValueError("no such folder")

    source = ModelSource("m", fail)
    with pytest.raises(ValueError, match="no such folder"):
        source.load_now()


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("sd15", "sd15"),
        ("folder/sd15", "sd15"),
        (r"C:\models\sd15.safetensors", "sd15.safetensors"),
        ("a/sd15 + b/snow.safetensors", "sd15 + snow.safetensors"),
        ("owner/painter @ http://127.0.0.1:8000", "painter @ http://127.0.0.1:8000"),
        ("painter @ https://[::1]", "painter @ https://[::1]"),
    ],
)
def test_the_id_of_a_model_has_no_folders(name, id):
    assert model_id(name) == id


def test_a_clip_is_opened_once_when_something_is_measured():
    loads = []

    class Clip:
        def images(self, images):
            return ["image"] * len(images)

        def texts(self, captions):
            return ["text"] * len(captions)

    clip = LazyClip(ModelSource("clip", lambda: loads.append(1) or Clip()))
    assert clip.name == "clip" and not loads
    assert clip.images([0, 0]) == ["image"] * 2 and clip.texts(["a"]) == ["text"] and len(loads) == 1
