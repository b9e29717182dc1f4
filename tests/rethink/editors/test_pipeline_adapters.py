"""The sizes at which the pipelines work."""

import importlib.util

from rethink.editors.families import FAMILIES
from tests.support.editor_miniatures import NEED_TORCHVISION
from tests.support.family_miniatures import make


def test_real_working_sizes(tmp_path):
    """Around a megapixel, as each pipeline wants it, for the images people have."""
    for kind, sizes in {
        "qwen_image_edit": {(1024, 1024): (1024, 1024), (1080, 1920): (768, 1376), (4000, 3000): (1184, 896)},
        "longcat_image_edit": {(1024, 1024): (1024, 1024), (1080, 1920): (768, 1376)},
        "flux_kontext": {(1024, 1024): (1024, 1024), (1080, 1920): (752, 1392)},
        "joyimage_edit": {(1024, 1024): (1024, 1024), (1080, 1920): (768, 1344)},
    }.items():
        family = next(f for f in FAMILIES if f.id == kind)
        if kind in NEED_TORCHVISION and importlib.util.find_spec("torchvision") is None:
            continue
        pipeline = make(kind, tmp_path / kind)
        for source, expected in sizes.items():
            assert family.engine.size(pipeline, *source) == expected, (kind, source)
