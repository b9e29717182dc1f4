"""ComfyUI's own nodes that workflows of the pack begin with, described as far as the tests look at them."""

import torch
from comfy_api.latest import io


def _node(node_id, outputs, *inputs):
    def define_schema(cls):
        return io.Schema(node_id, node_id, "loaders", inputs=list(inputs), outputs=[kind.Output() for kind in outputs])

    return type(node_id, (io.ComfyNode,), {"define_schema": classmethod(define_schema)})


def _choice(name, *options):
    return io.Combo.Input(name, options=list(options), default=options[0])


KONTEXT = "flux1-dev-kontext_fp8_scaled.safetensors"
Conditioning, Latent = io.Custom("CONDITIONING"), io.Custom("LATENT")


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
        "UNETLoader",
        [io.Model],
        _choice("unet_name", "omnigen2_fp16.safetensors", KONTEXT),
        _choice("weight_dtype", "default"),
    ),
    _node(
        "CLIPLoader",
        [io.Clip],
        _choice("clip_name", "qwen_2.5_vl_fp16.safetensors", "qwen3vl_8b_fp8_scaled.safetensors"),
        _choice("type", "omnigen2", "stable_diffusion"),
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
    _node("FluxKontextImageScale", [io.Image], io.Image.Input("image")),
    _node("VAEEncode", [Latent], io.Image.Input("pixels"), io.Vae.Input("vae")),
    _node("VAEDecode", [io.Image], Latent.Input("samples"), io.Vae.Input("vae")),
    _node("CLIPTextEncode", [Conditioning], io.String.Input("text", default="", multiline=True), io.Clip.Input("clip")),
    _node("ReferenceLatent", [Conditioning], Conditioning.Input("conditioning"), Latent.Input("latent", optional=True)),
    _node(
        "FluxGuidance",
        [Conditioning],
        Conditioning.Input("conditioning"),
        io.Float.Input("guidance", default=3.5, min=0.0, max=100.0, step=0.1),
    ),
    _node("ConditioningZeroOut", [Conditioning], Conditioning.Input("conditioning")),
    _node(
        "KSampler",
        [Latent],
        io.Model.Input("model"),
        io.Int.Input("seed", default=0, min=0, max=2**64 - 1, control_after_generate=True),
        io.Int.Input("steps", default=20, min=1, max=10000),
        io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01),
        _choice("sampler_name", "euler"),
        _choice("scheduler", "simple"),
        Conditioning.Input("positive"),
        Conditioning.Input("negative"),
        Latent.Input("latent_image"),
        io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01),
    ),
]
