"""The sizes at which the pipelines work."""

import importlib.util

import pytest

from rethink.editors.families import FAMILIES
from rethink.editors.pipeline_adapters import resizing_to, size_by_bucket
from rethink.errors import RethinkError
from tests.support.editor_miniatures import NEED_TORCHVISION, available
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
            assert family.engine.size(pipeline, *source, 0) == expected, (kind, source)


@pytest.mark.parametrize(
    "kind", ["qwen_image_edit", "qwen_image_edit_plus", "longcat_image_edit", "flux_kontext", "flux2"]
)
@pytest.mark.parametrize("source", [(1024, 1024), (1080, 1920), (4000, 1000)])
def test_another_area_keeps_the_aspect_and_the_multiples(kind, source, tmp_path):
    family = next(f for f in FAMILIES if f.id == kind)
    pipeline = make(available(kind), tmp_path / kind)
    multiple, patch = family.engine.multiple(pipeline), family.engine.layout.patch_size(pipeline)
    for area in ((2 * multiple) ** 2, 2**18, 2**19):
        height, width = family.engine.size(pipeline, *source, area)
        assert height % patch == width % patch == 0 and height * width < 1.3 * area
        if area > 2**10 * multiple:
            own = family.engine.size(pipeline, *source, 0)
            assert width / height == pytest.approx(own[1] / own[0], rel=0.2) and height * width > 0.8 * area


def test_a_family_with_sizes_of_its_own_refuses_another_area():
    with pytest.raises(RethinkError, match="^megapixels: this editor has fixed working sizes"):
        size_by_bucket("image_processor")(None, 64, 64, 2**18)


def test_a_pipeline_resizes_as_it_did_when_it_has_worked_at_another_area():
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    pipeline = object.__new__(module.QwenImageEditPlusPipeline)
    with pytest.raises(ZeroDivisionError), resizing_to(pipeline, 2**18):
        assert module.calculate_dimensions(2**20, 1.0) == (512, 512)
        assert module.calculate_dimensions(384 * 384, 1.0) == (384, 384), "what the text encoder looks at"
        raise ZeroDivisionError
    assert module.calculate_dimensions(2**20, 1.0) == (1024, 1024)
