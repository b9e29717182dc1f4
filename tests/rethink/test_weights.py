"""Which files hold a model's weights, under every name; and that they fill it, none missing and none left over."""

import json
import logging
import os
import tempfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from rethink.errors import RethinkError
from rethink.weights import check_filled, find_weights, open_model

CLIP = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 1}
CLIP |= {"max_position_embeddings": 7, "bos_token_id": 7, "eos_token_id": 8, "pad_token_id": 8}
T5 = {"vocab_size": 8, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
STEM = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}


def write(folder, kind):
    """→ (the class, its library) of a small model with random weights that now lies in `folder`."""
    import diffusers
    import transformers

    torch.manual_seed(0)
    if kind == "vae":
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        model = diffusers.AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, **blocks)
    elif kind == "t5":
        model = transformers.T5EncoderModel(transformers.T5Config(**T5))
    else:
        model = transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP))
    model.save_pretrained(folder)
    return type(model), "diffusers" if kind == "vae" else "transformers"


def rewrite(folder, change):
    file = next(folder.glob("*.safetensors"))
    save_file(change(load_file(file)), file, {"format": "pt"})


def split(folder, library, index, name="{stem}{number}.safetensors"):
    """The weights in two files, listed in an index of that name."""
    file = next(folder.glob("*.safetensors"))
    weights, places = load_file(file), {}
    file.unlink()
    for number, keys in enumerate((sorted(weights)[::2], sorted(weights)[1::2])):
        shard = name.format(stem=STEM[library], number=f"-0000{number + 1}-of-00002")
        save_file({key: weights[key] for key in keys}, folder / shard, {"format": "pt"})
        places |= dict.fromkeys(keys, shard)
    content = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / index.format(stem=STEM[library])).write_text(json.dumps(content))
    return weights


@pytest.mark.parametrize("kind", ["vae", "clip", "t5"])
def test_whole_weights_open_and_are_the_files_own(tmp_path, kind):
    wanted, library = write(tmp_path, kind)
    model = open_model("editor", tmp_path, library, wanted, torch.float32)
    ours = {key.removeprefix("text_model."): value for key, value in model.state_dict().items()}
    for key, weight in load_file(next(tmp_path.glob("*.safetensors"))).items():
        assert torch.equal(ours[key.removeprefix("text_model.")], weight)


@pytest.mark.parametrize("kind", ["vae", "clip", "t5"])
def test_no_weight_may_be_missing(tmp_path, kind):
    wanted, library = write(tmp_path, kind)
    whole = load_file(next(tmp_path.glob("*.safetensors")))
    for missing in sorted(whole)[:: 1 if kind == "t5" else 9]:
        rewrite(tmp_path, lambda _: {key: value for key, value in whole.items() if key != missing})  # noqa: B023
        with pytest.raises(
            RethinkError, match=f"^editor: {tmp_path} is not a complete {wanted.__name__}: it lacks .*;"
        ):
            open_model("editor", tmp_path, library, wanted)


@pytest.mark.parametrize("kind", ["vae", "clip", "t5"])
@pytest.mark.parametrize("how", ["module.{}", "model.diffusion_model.{}", "_orig_mod.{}"])
def test_another_prefix_is_no_whole_model(tmp_path, kind, how):
    wanted, library = write(tmp_path, kind)
    rewrite(tmp_path, lambda weights: {how.format(key): value for key, value in weights.items()})
    with pytest.raises(RethinkError, match=rf"lacks .* and contains {how.format('')}.* not belong"):
        open_model("editor", tmp_path, library, wanted)


@pytest.mark.parametrize("kind", ["vae", "clip"])
def test_no_tensor_may_be_left_over_but_harmless_ones(tmp_path, kind):
    wanted, library = write(tmp_path, kind)
    rewrite(tmp_path, lambda weights: weights | {"embeddings.position_ids": torch.arange(7)})
    open_model("editor", tmp_path, library, wanted)
    rewrite(tmp_path, lambda weights: weights | {"surprise.weight": torch.zeros(1), "surprise.bias": torch.zeros(1)})
    with pytest.raises(RethinkError, match="it contains surprise.bias and 1 more, which does not belong there"):
        open_model("editor", tmp_path, library, wanted)


def test_a_clip_in_the_place_of_its_text_encoder(tmp_path):
    """As people exchange them: the other half is not wanted."""
    wanted, library = write(tmp_path, "clip")
    others = {
        "vision_model.encoder.weight": torch.ones(1),
        "logit_scale": torch.ones(1),
        "text_projection.weight": torch.ones(1),
    }
    rewrite(tmp_path, lambda weights: weights | others)
    open_model("editor", tmp_path, library, wanted)


def test_an_output_layer_that_is_missing_is_no_copy_of_the_embeddings():
    model = torch.nn.ModuleDict({"lm_head": torch.nn.Linear(2, 2, bias=False)})
    check_filled("thinker", "folder", model, [], ["lm_head.bias_of_another.position_ids"])
    with pytest.raises(RethinkError, match="lacks lm_head.weight"):
        check_filled("thinker", "folder", model, ["lm_head.weight"], [])
    with pytest.raises(RethinkError, match="lacks lm_head.weight"):
        check_filled("thinker", "folder", model.to("meta"), [], [])


@pytest.mark.parametrize("kind", ["vae", "clip"])
@pytest.mark.parametrize("variant", ["bf16", "fp8_e4m3fn", "ema", "fp16.ema"])
def test_a_variant_of_any_name_opens(tmp_path, kind, variant):
    wanted, library = write(tmp_path, kind)
    stem = STEM[library]
    (tmp_path / f"{stem}.safetensors").rename(tmp_path / f"{stem}.{variant}.safetensors")
    dtype = torch.float8_e4m3fn if variant.startswith("fp8") else torch.bfloat16
    rewrite(tmp_path, lambda weights: {key: value.to(dtype) for key, value in weights.items()})
    model = open_model("editor", tmp_path, library, wanted, torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert find_weights("editor", tmp_path, library).variant == variant


INDICES = [
    ("{stem}.safetensors.index.json", "{stem}{number}.safetensors"),
    ("{stem}.safetensors.index.bf16.json", "{stem}.bf16{number}.safetensors"),
    ("{stem}.bf16.safetensors.index.json", "{stem}{number}.bf16.safetensors"),
    ("{stem}.safetensors.bf16.index.json", "{stem}.bf16{number}.safetensors"),
]


@pytest.mark.parametrize("kind", ["vae", "clip"])
@pytest.mark.parametrize("names", INDICES)
def test_shards_of_every_spelling_open(tmp_path, kind, names):
    wanted, library = write(tmp_path, kind)
    weights = split(tmp_path, library, *names)
    model = open_model("editor", tmp_path, library, wanted, torch.float32)
    ours = {key.removeprefix("text_model."): value for key, value in model.state_dict().items()}
    assert all(torch.equal(ours[key.removeprefix("text_model.")], value) for key, value in weights.items())


def test_links_that_cannot_be_removed_yet_are_in_nobodys_way(tmp_path, monkeypatch):
    """As on Windows, while the weights are mapped."""
    wanted, library = write(tmp_path, "vae")
    split(tmp_path, library, *INDICES[3])
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def refuse(*_, **__):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(os, "unlink", refuse)
    open_model("editor", tmp_path, library, wanted)


def test_a_shard_that_has_less_than_its_index_says(tmp_path):
    wanted, library = write(tmp_path, "clip")
    split(tmp_path, library, "{stem}.safetensors.index.json")
    shard = tmp_path / "model-00002-of-00002.safetensors"
    lost = sorted(weights := load_file(shard))[0]
    save_file({key: value for key, value in weights.items() if key != lost}, shard, {"format": "pt"})
    with pytest.raises(RethinkError, match=f"model-00002-of-00002.safetensors lacks {lost}, which .*index.json lists"):
        open_model("editor", tmp_path, library, wanted)


def test_an_index_lists_only_safetensors_beside_it(tmp_path):
    wanted, library = write(tmp_path, "clip")
    for place in (
        "../model.safetensors",
        "/model.safetensors",
        "..\\model.safetensors",
        "C:\\a.safetensors",
        "model.bin",
    ):
        (tmp_path / "model.safetensors").unlink(missing_ok=True)
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": place}}))
        with pytest.raises(RethinkError, match="lists no weight files next to it"):
            open_model("editor", tmp_path, library, wanted)


def test_the_plain_weights_are_taken_before_their_variants_and_a_choice_is_told(tmp_path, caplog):
    for name in ("model.bf16.safetensors", "model.fp16.safetensors", "model.non_ema.safetensors", "model.safetensors"):
        save_file({"a": torch.zeros(1)}, tmp_path / name)
    with caplog.at_level(logging.WARNING):
        assert find_weights("editor", tmp_path, "transformers").variant == ""
        assert not caplog.messages
        (tmp_path / "model.safetensors").unlink()
        assert find_weights("editor", tmp_path, "transformers").variant == "fp16"
        assert "variants bf16, fp16, non_ema; fp16 is used" in caplog.messages[0]
    for name in ("model.bf16.safetensors", "model.fp16.safetensors"):
        (tmp_path / name).unlink()
    (tmp_path / "model.non_ema.safetensors").rename(tmp_path / "model.mine.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "model.yours.safetensors")
    with pytest.raises(
        RethinkError, match="variants mine, yours; keep one, or rename the one you want to model.safetensors"
    ):
        find_weights("editor", tmp_path, "transformers")


def test_an_index_that_came_without_its_shards_does_not_hide_a_whole_variant(tmp_path):
    """Clients that fetch a variant take every .json along."""
    wanted, library = write(tmp_path, "vae")
    (tmp_path / f"{STEM[library]}.safetensors").rename(tmp_path / f"{STEM[library]}.fp16.safetensors")
    index = {"weight_map": {"a": f"{STEM[library]}-00001-of-00002.safetensors"}}
    (tmp_path / f"{STEM[library]}.safetensors.index.json").write_text(json.dumps(index))
    assert find_weights("editor", tmp_path, library).variant == "fp16"
    open_model("editor", tmp_path, library, wanted)


def test_weights_of_another_shape(tmp_path):
    for kind in ("clip", "vae"):
        wanted, library = write(tmp_path / kind, kind)
        rewrite(tmp_path / kind, lambda weights: {key: value[:1].contiguous() for key, value in weights.items()})
        with pytest.raises(
            RethinkError, match=f"cannot be opened as a {wanted.__name__}|not a complete {wanted.__name__}"
        ):
            open_model("editor", tmp_path / kind, library, wanted)
