"""LoRA files on ComfyUI's own models where there is no ComfyUI: what is checked before anything is patched.

What they do there: tests/comfyui/test_native_lora.py.
"""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.support.mapped_files import is_mapped

NAME, LAYERS = "blocks.0.to_q", 12


class Patched:
    """A MODEL or CLIP that remembers what is put on its clones."""

    def __init__(self, module):
        self.model = self.cond_stage_model = module
        self.patches = []

    def clone(self):
        return Patched(self.model)

    def add_patches(self, patches, strength):
        self.patches.append((sorted(patches), strength))


@pytest.fixture
def comfyui(part, monkeypatch):
    """ComfyUI's loader, which knows layers of 4 × 3; `tensors` and `metadata` are what lies in the file."""
    holder = SimpleNamespace(tensors={}, metadata={}, ignores=())
    targets = {
        f"transformer.{name}": f"diffusion_model.{name}.weight"
        for name in (f"blocks.{number}.to_q" for number in range(LAYERS))
    }

    def load_lora(tensors, targets, log_missing):
        holder.loaded = tensors
        return {target: 1 for stem, target in targets.items() if stem not in holder.ignores}

    modules = {
        "comfy.utils": SimpleNamespace(load_torch_file=lambda *_, **__: (dict(holder.tensors), holder.metadata)),
        "comfy.lora_convert": SimpleNamespace(convert_lora=lambda tensors: tensors),
        "comfy.lora": SimpleNamespace(
            model_lora_keys_unet=lambda model, known: targets,
            model_lora_keys_clip=lambda clip, known: known,
            load_lora=load_lora,
        ),
    }
    monkeypatch.setattr(part("nodes.native.lora"), "comfy_module", modules.__getitem__)
    return holder


@pytest.fixture
def apply(part, comfyui, tmp_path):
    def apply(tensors, strength=0.5, metadata=None):
        comfyui.tensors, comfyui.metadata = tensors, metadata
        layers = nn.ModuleList(nn.ModuleDict({"to_q": nn.Linear(3, 4)}) for _ in range(LAYERS))
        apply.model = Patched(nn.ModuleDict({"diffusion_model": nn.ModuleDict({"blocks": layers})}))
        apply.clip = Patched(nn.Identity())
        lora = part("nodes.native.lora")
        return lora.apply_lora(apply.model, apply.clip, tmp_path / "snow.safetensors", strength, "the test")

    return apply


def factors(name=NAME, rank=2, inputs=3, outputs=4):
    return {
        f"transformer.{name}.lora_A.weight": torch.ones(rank, inputs),
        f"transformer.{name}.lora_B.weight": torch.ones(outputs, rank),
    }


def test_clones_are_patched_and_the_models_are_as_they_were(apply):
    model, clip, report = apply(factors())
    assert model.patches == clip.patches and model.patches[0][1] == 0.5 and not apply.model.patches
    assert (report.name, report.matched, report.unmatched) == ("snow", 1, ())
    unpatched, _, report = apply(factors(), strength=0.0)
    assert not unpatched.patches and report.matched == 1


def test_what_lies_over_a_model_is_not_the_file_itself(apply, comfyui, tmp_path):
    """ComfyUI maps files; on Windows the next training of this name could not replace one that is in use."""
    file = tmp_path / "snow.safetensors"
    save_file(factors(), file)
    apply(load_file(file))
    comfyui.tensors = {}
    assert comfyui.loaded and not is_mapped(file)


def test_layers_without_a_place_are_named_and_many_of_them_are_another_model(apply, RethinkError):
    more = factors("elsewhere")
    for number in range(LAYERS):
        more |= factors(f"blocks.{number}.to_q")
    assert apply(more)[2].unmatched == ("transformer.elsewhere",)
    with pytest.raises(RethinkError, match="^lora: 1 of 4 layers of .* fit the test; .* for example, transformer.a"):
        apply(factors() | factors("a") | factors("b") | factors("c"))


def test_an_alpha_of_the_metadata_reaches_comfyuis_loader(apply, comfyui):
    apply(factors(), metadata={"lora_adapter_metadata": '{"transformer.r": 2, "transformer.lora_alpha": 8}'})
    assert comfyui.loaded[f"transformer.{NAME}.alpha"] == 8
    apply(factors())
    assert f"transformer.{NAME}.alpha" not in comfyui.loaded


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({}, "lora: .* is empty"),
        (
            factors(inputs=5),
            "lora: .* does not fit the test: its layer transformer.blocks.0.to_q has .* 2 × 5 instead of 2 × 3",
        ),
        ({**factors(), f"transformer.{NAME}.lora_magnitude_vector": torch.ones(4)}, "lora: .* is a DoRA as PEFT saves"),
        ({f"transformer.{NAME}.lora_A.weight": torch.full((2, 3), float("nan"))}, "lora: .* NaN or infinite values in"),
    ],
)
def test_what_comfyui_would_read_in_part_is_refused(apply, RethinkError, tensors, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        apply(tensors)
    assert not apply.model.patches


def test_what_the_loader_makes_nothing_of_is_said(apply, comfyui, RethinkError):
    comfyui.ignores = (f"transformer.{NAME}",)
    with pytest.raises(RethinkError, match="ComfyUI's loader cannot use transformer.blocks.0.to_q"):
        apply(factors())


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), 1e9])
def test_a_strength_has_limits(apply, RethinkError, strength):
    with pytest.raises(RethinkError, match="^strength: expected a number from"):
        apply(factors(), strength)
