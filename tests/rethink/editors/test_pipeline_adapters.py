"""The sizes at which the pipelines work."""

import importlib.util

import pytest

from rethink.editors.families import FAMILIES
from tests.support import editor_miniatures as miniatures
from tests.support.editor_miniatures import NEED_TORCHVISION


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


def test_real_working_sizes(monkeypatch, root):
    """Around a megapixel, as each pipeline wants it, for the pictures people have."""
    monkeypatch.undo()
    for kind, sizes in {
        "qwen_image_edit": {(1024, 1024): (1024, 1024), (1080, 1920): (768, 1376), (4000, 3000): (1184, 896)},
        "longcat_image_edit": {(1024, 1024): (1024, 1024), (1080, 1920): (768, 1376)},
        "flux_kontext": {(1024, 1024): (1024, 1024), (1080, 1920): (752, 1392)},
        "joyimage_edit": {(1024, 1024): (1024, 1024), (1080, 1920): (768, 1344)},
    }.items():
        family = next(f for f in FAMILIES if f.id == kind)
        if kind in NEED_TORCHVISION and importlib.util.find_spec("torchvision") is None:
            continue
        pipeline = miniatures.make(kind, root)
        for source, expected in sizes.items():
            assert family.engine.size(pipeline, *source) == expected, (kind, source)
