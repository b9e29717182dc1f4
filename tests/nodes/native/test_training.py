"""How ComfyUI's own models are told apart for training, and what their files call the layers.

How they train: tests/comfyui/test_native_training.py.
"""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rethink.training.example import Example


@pytest.fixture
def training(part):
    return part("nodes.native.training")


def patcher(*patches):
    torch.manual_seed(0)
    named = {f"weight {number}": [patch] for number, patch in enumerate(patches)}
    return SimpleNamespace(model=nn.Linear(3, 2), backup={}, patches=named)


def test_the_same_weights_with_the_same_patches_are_one_model(training):
    fingerprint = training._fingerprint
    plain, adapter = fingerprint(patcher()), SimpleNamespace(weights=(torch.ones(2, 2), None))
    assert fingerprint(patcher()) == plain
    patched = fingerprint(patcher((1.0, adapter, 1.0, None, None)))
    weaker = fingerprint(patcher((0.5, adapter, 1.0, None, None)))
    other = fingerprint(patcher((1.0, ("diff", (torch.zeros(2, 2),)), 1.0, None, None)))
    assert len({plain, patched, weaker, other}) == 4


def test_a_weight_that_is_patched_in_place_counts_as_it_was(training):
    one, other = patcher(), patcher()
    other.backup["weight"] = SimpleNamespace(weight=other.model.weight.detach().clone())
    other.model.weight.data += 1
    assert training._fingerprint(one) == training._fingerprint(other)


def test_every_native_family_has_a_trainer(part, training):
    rows = {family.id: training._row(family) for family in part("nodes.native.families").NATIVE_FAMILIES}
    assert {id: row.names for id, row in rows.items()} == {
        "instruct_pix2pix": "kohya",
        "instruct_pix2pix_xl": "kohya",
        "flux_kontext": "kohya",
        "qwen_image_edit_plus": "diffusers",
        "qwen_image_edit_2511": "diffusers",
        "qwen_image_edit": "diffusers",
        "flux2": "comfyui",
        "flux2_klein": "comfyui",
        "longcat_image_edit": "kohya",
        "omnigen2": "comfyui",
    }


def test_a_batch_loses_what_omnigen2_compares_with_as_its_sampling_leaves_it_away(part, training):
    [family] = [family for family in part("nodes.native.families").NATIVE_FAMILIES if family.id == "omnigen2"]
    model = object.__new__(training.NativeEditModel)
    model.row, model.editor = training._row(family), SimpleNamespace(defaults=family.defaults)
    text, empty, latents = torch.ones(2, 9, 4), torch.zeros(2, 3, 4), torch.ones(2, 16, 8, 8)
    batch = Example(latents, latents, {"c_crossattn": text}, {"c_crossattn": empty})
    generator, calls = torch.Generator().manual_seed(0), Counter()
    for _ in range(2000):
        call = model._conditions(model.drop_conditions(batch, generator))
        assert call["c_crossattn"] is text or call["c_crossattn"] is empty
        calls[call["c_crossattn"] is empty, "ref_latents" not in call] += 1
    assert {dropped: count / 2000 for dropped, count in calls.items()} == pytest.approx(
        {(False, False): 0.85, (True, False): 0.05, (False, True): 0.05, (True, True): 0.05}, abs=0.02
    )


def test_references_follow_the_source_and_are_lost_with_it(part, training):
    [family] = [family for family in part("nodes.native.families").NATIVE_FAMILIES if family.id == "omnigen2"]
    model = object.__new__(training.NativeEditModel)
    model.row, text = training._row(family), {"c_crossattn": torch.ones(1, 9, 4)}
    source, hat, coat = (torch.ones(1, 16, 8, width) for width in (8, 6, 4))
    example = Example(source, *model._sources([source, hat, coat], 16, True)[:1], text, {}, (hat, coat))
    assert all(one is other for one, other in zip(model._conditions(example)["ref_latents"], (source, hat, coat)))
    lost = model._without(example, torch.tensor([False]), torch.tensor([True]))
    assert "ref_latents" not in model._conditions(lost) and lost.references == ()
