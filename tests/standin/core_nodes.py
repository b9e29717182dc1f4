"""ComfyUI's own nodes that workflows of the pack begin with, described as far as the tests look at them."""

import torch
from comfy_api.latest import io


def _node(node_id, outputs, *inputs):
    def define_schema(cls):
        return io.Schema(node_id, node_id, "loaders", inputs=list(inputs), outputs=[kind.Output() for kind in outputs])

    return type(node_id, (io.ComfyNode,), {"define_schema": classmethod(define_schema)})


def _choice(name, *options):
    return io.Combo.Input(name, options=list(options), default=options[0])


class _LoadImage(_node("LoadImage", [io.Image, io.Mask], _choice("image", "example.png"))):
    @classmethod
    def execute(cls, image):
        return io.NodeOutput(
            torch.rand(1, 48, 64, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 48, 64)
        )


# The others have no execute: where their models are, a real ComfyUI is.
CORE_NODES = [
    _LoadImage,
    _node(
        "UNETLoader", [io.Model], _choice("unet_name", "omnigen2_fp16.safetensors"), _choice("weight_dtype", "default")
    ),
    _node(
        "CLIPLoader",
        [io.Clip],
        _choice("clip_name", "qwen_2.5_vl_fp16.safetensors"),
        _choice("type", "omnigen2"),
        _choice("device", "default"),
    ),
    _node(
        "DualCLIPLoader",
        [io.Clip],
        _choice("clip_name1", "clip_l.safetensors"),
        _choice("clip_name2", "t5xxl_fp8_e4m3fn_scaled.safetensors"),
        _choice("type", "flux"),
        _choice("device", "default"),
    ),
    _node("VAELoader", [io.Vae], _choice("vae_name", "ae.safetensors")),
]
