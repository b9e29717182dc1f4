"""The rows of data, and what follows from them."""

import torch

from rethink.editors.families import FAMILIES, dual_cfg_passes
from rethink.editors.loading import ENGINES
from rethink.editors.pipeline_adapters import PipelineAdapter
from tests.support.family_miniatures import MINIATURES


def test_every_row_that_a_pipeline_samples_has_its_miniature():
    built = {class_name for _, class_name in MINIATURES.values()}
    for family in FAMILIES:
        has_one = not isinstance(family.engine, PipelineAdapter) or built & {*family.pipelines, family.opened_as}
        assert has_one, (
            f"{family.id}: write a miniature, and its line in MINIATURES, in tests/support/family_miniatures.py"
        )
        assert family.defaults.steps and family.lora_targets


def test_the_passes_are_the_papers_formula():
    text, image = torch.tensor([7.5, 2.0]), torch.tensor([1.5, 1.0])
    null, seen, both = (p.weight for p in dual_cfg_passes(text, image))
    e00, ei0, eit = torch.randn(3, 2)
    paper = e00 + image * (ei0 - e00) + text * (eit - ei0)
    assert torch.allclose(null * e00 + seen * ei0 + both * eit, paper, atol=1e-5)


def test_every_row_says_what_runs_it_and_what_it_takes():
    for family in FAMILIES:
        assert type(family.engine) in ENGINES, family.id
        assert family.takes_negative_prompt == family.engine.takes_negative_prompt
    by_image = {family.id for family in FAMILIES if family.guides_by_image}
    assert by_image >= {"instruct_pix2pix", "instruct_pix2pix_xl"} and not by_image & {"sdedit", "sdedit_xl", "flux2"}
