"""The families that can be trained, and what their files call the layers."""

import pytest
import torch

from rethink.editors.families import FAMILIES
from rethink.errors import RethinkError
from rethink.training.lora_families import TRAINED, name_weights, trained_family


def test_every_row_is_of_a_family_of_editors():
    assert set(TRAINED) <= {family.id for family in FAMILIES}
    assert {row.names for row in TRAINED.values() if row.layout == "channels"} == {"kohya"}  # all that ComfyUI matches


def test_a_family_without_a_trainer_is_named():
    with pytest.raises(
        RethinkError,
        match="no trainer for JoyImage-Edit yet; choose an editor of one of these families: instruct_pix2pix",
    ):
        trained_family("joyimage_edit", "JoyImage-Edit")


def test_names_of_both_kinds():
    linear, conv = (torch.ones(2, 6), torch.ones(5, 2)), (torch.ones(2, 4, 3, 3), torch.ones(8, 2))
    kohya = name_weights("kohya", {"mid.to_out.0": linear, "conv_in": conv}, torch.float16)
    assert {name: tuple(weight.shape) for name, weight in kohya.items()} == {
        "lora_unet_mid_to_out_0.lora_down.weight": (2, 6),
        "lora_unet_mid_to_out_0.lora_up.weight": (5, 2),
        "lora_unet_mid_to_out_0.alpha": (),
        "lora_unet_conv_in.lora_down.weight": (2, 4, 3, 3),
        "lora_unet_conv_in.lora_up.weight": (8, 2, 1, 1),
        "lora_unet_conv_in.alpha": (),
    }
    assert kohya["lora_unet_conv_in.alpha"] == 2 and kohya["lora_unet_conv_in.lora_up.weight"].dtype == torch.float16
    assert set(name_weights("diffusers", {"blocks.0.to_q": linear}, torch.float32)) == {
        "transformer.blocks.0.to_q.lora_A.weight",
        "transformer.blocks.0.to_q.lora_B.weight",
    }
    assert set(name_weights("comfyui", {"blocks.0.qkv": linear}, torch.float32)) == {
        "diffusion_model.blocks.0.qkv.lora_A.weight",
        "diffusion_model.blocks.0.qkv.lora_B.weight",
    }
