"""Text-to-image models for Prompt-to-Prompt: which folders are opened, and their LoRAs."""

import json

import pytest
import torch

from rethink.editors.loading import add_lora
from rethink.errors import RethinkError
from rethink.pairs.from_captions.text_to_image import load_text_to_image, open_text_to_image, sample_side
from tests.support.editor_miniatures import write_lora
from tests.support.miniatures import PLAIN, write_folder


def test_only_text_to_image_folders_are_opened(tmp_path):
    assert load_text_to_image(write_folder(tmp_path / "sd", PLAIN)).unet.config.in_channels == 4
    with pytest.raises(RethinkError, match="InstructPix2Pix"):
        load_text_to_image(write_folder(tmp_path / "ip2p", "StableDiffusionInstructPix2PixPipeline"))
    with pytest.raises(RethinkError, match="^model: .*missing is not a diffusers folder"):
        load_text_to_image(tmp_path / "missing")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model_index.json").write_text(json.dumps({"_class_name": PLAIN}))
    with pytest.raises(RethinkError, match="^model: .*names no vae"):
        load_text_to_image(tmp_path / "broken")


def test_a_lora_changes_the_pipeline_while_it_is_used_and_is_part_of_the_name(tmp_path):
    model = open_text_to_image(write_folder(tmp_path / "sd", PLAIN))
    place, layer = next(
        (name, module) for name, module in model.pipe.unet.named_modules() if name.endswith("attn1.to_q")
    )
    down, up = torch.ones(2, layer.in_features), torch.ones(layer.out_features, 2)
    weights = {f"unet.{place}.lora_A.weight": down, f"unet.{place}.lora_B.weight": up}
    changed, report = add_lora(model, write_lora(weights, tmp_path, "soft"), 0.5)
    assert (changed.name, model.name, report.matched) == ("sd + soft × 0.5", "sd", 1)
    x = torch.ones(1, layer.in_features, dtype=layer.weight.dtype)
    plain = layer(x)
    with changed.pipeline() as pipeline:
        assert pipeline is model.pipe and (layer(x) - plain > 1).all()
    with model.pipeline():
        assert (layer(x) == plain).all()


def test_the_side_is_that_of_the_images(tmp_path):
    assert sample_side(open_text_to_image(write_folder(tmp_path / "sd", PLAIN))) == 128
