"""LoRA files as trainers write them: every layer changes as diffusers' own loader changes it, or by the formula."""

import json

import pytest
import torch

from rethink.errors import RethinkError
from tests.support.editor_miniatures import RANK, denoiser
from tests.support.lora_layers import (
    DICE,
    assert_adds,
    assert_as_diffusers,
    ours,
    peft,
    product,
    random,
    read,
    theirs,
)

pytest.importorskip("peft")


@pytest.fixture(autouse=True)
def seed():
    DICE.manual_seed(5)


# ── strengths that stand in the metadata ─────────────────────────────────────────────────────────────────────────────


def trained(editor, part, **options):
    """(weights, metadata) as diffusers' training scripts save an adapter of PEFT's with these options."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    model = editor.module[part]
    model.add_adapter(LoraConfig(init_lora_weights=False, **options), "new")
    weights = {
        f"{part}.{name}": weight for name, weight in get_peft_model_state_dict(model, adapter_name="new").items()
    }
    config = model.peft_config["new"].to_dict()
    editor._pipeline.unload_lora_weights()
    told = {f"{part}.{key}": sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    return weights, {"lora_adapter_metadata": json.dumps(told, default=str)}


OPTIONS = {
    "alpha": {"r": RANK, "lora_alpha": 3 * RANK},
    "rank-stabilized": {"r": RANK, "lora_alpha": 3, "use_rslora": True},
    "by layers": {
        "r": RANK,
        "lora_alpha": 8,
        "rank_pattern": {"to_k": 2},
        "alpha_pattern": {"to_q": 1, "attn.*to_v": 16},
    },
    "DoRA": {"r": RANK, "lora_alpha": 8, "use_dora": True},
    "with biases": {"r": RANK, "lora_alpha": 8, "lora_bias": True},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["instruct_pix2pix", "instruct_pix2pix_xl", "flux_kontext", "flux2_klein"])
def test_what_peft_trained_acts_as_in_diffusers(kind, editor_of, tmp_path, options):
    editor = editor_of(kind)
    more = trained(editor, denoiser(editor), target_modules=["to_q", "to_k", "to_v"], **OPTIONS[options])
    assert_as_diffusers(editor, tmp_path, *more, strength=0.6)


def test_convolutions_with_lengths_too(editor_of, tmp_path):
    editor = editor_of("instruct_pix2pix_xl")
    options = {"target_modules": ["conv1", "conv_in"], "r": RANK, "lora_alpha": 8, "use_dora": True}
    assert_as_diffusers(editor, tmp_path, *trained(editor, "unet", **options))


def test_every_part_has_its_own_settings(editor_of, tmp_path):
    editor = editor_of("instruct_pix2pix_xl")
    weights, told, deltas = {}, {}, {}
    for part, alpha in (("unet", 8), ("text_encoder", 2), ("text_encoder_2", 12)):
        end = "q_proj" if part.startswith("text") else "attn1.to_q"
        name = next(f"{part}.{name}" for name, _ in editor.module[part].named_modules() if name.endswith(end))
        layer = editor.module.get_submodule(name)
        weights |= peft(name, layer.out_features, layer.in_features)
        told |= {f"{part}.r": RANK, f"{part}.lora_alpha": alpha}
        deltas[name] = product(weights, name, alpha / RANK, "lora_A", "lora_B")
    assert_adds(editor, tmp_path, weights, deltas, {"lora_adapter_metadata": json.dumps(told)})


def test_settings_that_name_no_part_are_the_denoisers(editor_of, tmp_path):
    """As diffusers' save_lora_adapter writes them."""
    editor = editor_of("flux_kontext")
    name = "transformer_blocks.0.attn.to_q"
    weights = peft(name, 32, 32)
    told = {"lora_adapter_metadata": json.dumps({"r": RANK, "lora_alpha": 2 * RANK})}
    deltas = {f"transformer.{name}": product(weights, name, 2.0, "lora_A", "lora_B")}
    assert_adds(editor, tmp_path, weights, deltas, told)


def test_an_alpha_beside_the_factors_comes_first(editor_of, tmp_path):
    editor = editor_of("flux_kontext")
    name = "transformer.transformer_blocks.0.attn.to_q"
    weights = peft(name, 32, 32) | {f"{name}.alpha": torch.tensor(2.0)}
    told = {"lora_adapter_metadata": json.dumps({"transformer.r": RANK, "transformer.lora_alpha": 40})}
    deltas = {name: product(weights, name, 2 / RANK, "lora_A", "lora_B")}
    assert_adds(editor, tmp_path, weights, deltas, told)
    told = {"ss_network_alpha": "77", "ss_network_dim": "3"}  # which no loader reads
    assert_adds(editor, tmp_path, weights, deltas, told)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ("{", "metadata of .* cannot be read"),
        ("[" * 100000, "metadata of .* cannot be read"),
        ("[1]", "metadata of .* must be a JSON object"),
        ('{"transformer.r": "four"}', "r 'four' in the file's metadata, which is not a number"),
        ('{"transformer.r": 8}', "rank 4, but 8 in the file's metadata"),
        ('{"transformer.r": 4, "transformer.lora_alpha": null}', "lora_alpha None in the file's metadata"),
        ('{"transformer.r": 4, "transformer.alpha_pattern": {"(": 1}}', "alpha_pattern .* not a valid expression"),
        ('{"transformer.r": 4, "transformer.rank_pattern": [1]}', "rank_pattern .* not an object"),
    ],
)
def test_bad_metadata_is_one_sentence(editor_of, tmp_path, told, sentence):
    weights = peft("transformer.transformer_blocks.0.attn.to_q", 32, 32)
    with pytest.raises(RethinkError, match=f"^lora: [^\n]*{sentence}[^\n]*$"):
        read(editor_of("flux_kontext"), weights, tmp_path, metadata={"lora_adapter_metadata": told})


@pytest.mark.parametrize("original", [True, False])
def test_lokr_over_flux2_as_in_diffusers(editor_of, tmp_path, original):
    editor = editor_of("flux2_klein")
    names = (
        ["double_blocks.0.img_attn.proj"]
        if original
        else ["transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k"]
    )
    weights = {}
    for name in names:
        stem = f"diffusion_model.{name}" if original else "lycoris_" + name.replace(".", "_")
        weights |= {
            f"{stem}.lokr_w1": random(4, 4),
            f"{stem}.lokr_w2": random(8, 8),
            f"{stem}.alpha": torch.tensor(3.0),
        }
    lora, report = read(editor, weights, tmp_path)
    assert not report.unmatched and report.matched == len(names)
    found, expected = ours(editor, lora), theirs(editor, tmp_path / "lora.safetensors")
    assert found.keys() == expected.keys() and found
    assert all(torch.allclose(found[name][0], weight, atol=3e-5) for name, (weight, _) in expected.items())
