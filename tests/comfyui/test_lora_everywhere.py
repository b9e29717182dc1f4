"""One LoRA file, as training writes it, through all three loaders: the pack's, that of diffusers, and ComfyUI's own. The same
layers change by the same weights, so that the model says the same."""

import inspect
import json
import uuid
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file

from rethink.editors.families import FAMILIES
from rethink.editors.lora import lora_applied, read_lora
from rethink.training.edit_model import EditModel
from rethink.training.lora_families import TEXT_PART, TRAINED, name_weights
from rethink.training.lora_run import save_tensors
from rethink.training.trainable_lora import ALL_LAYERS, target_layers
from tests.comfyui.native_graphs import difference, diffusion_model, edit, native, node, noise, run

RANK, TOKENS, TEXT = 4, 16, 5
_CLIP = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3}
_FLUX = {"num_layers": 1, "num_single_layers": 1, "attention_head_dim": 128, "num_attention_heads": 1}
_UNET = {
    "in_channels": 8,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 2,
}
_XL = {
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 64 + 1536,
}
_QWEN = {"num_layers": 1, "num_attention_heads": 1, "joint_attention_dim": 64}
# Family → the pipeline whose loader reads its LoRAs ("": the denoiser does itself), and the denoiser of diffusers with layers as
# those of the miniature of ComfyUI have them.
DENOISERS = {
    "instruct_pix2pix": ("StableDiffusionInstructPix2PixPipeline", "UNet2DConditionModel", _UNET | {"cross_attention_dim": 64}),
    "instruct_pix2pix_xl": (
        "StableDiffusionXLInstructPix2PixPipeline", "UNet2DConditionModel", _UNET | _XL | {"cross_attention_dim": 128}),
    "flux_kontext": (
        "FluxKontextPipeline", "FluxTransformer2DModel",
        _FLUX | {"joint_attention_dim": 64, "pooled_projection_dim": 64, "guidance_embeds": True}),
    "qwen_image_edit": ("QwenImageEditPipeline", "QwenImageTransformer2DModel", _QWEN),
    "qwen_image_edit_plus": ("QwenImageEditPlusPipeline", "QwenImageTransformer2DModel", _QWEN),
    "flux2": ("Flux2Pipeline", "Flux2Transformer2DModel", _FLUX | {"joint_attention_dim": 96}),
    "flux2_klein": ("Flux2KleinPipeline", "Flux2Transformer2DModel", _FLUX | {"joint_attention_dim": 96, "guidance_embeds": False}),
    "longcat_image_edit": ("", "LongCatImageTransformer2DModel", _FLUX | {"joint_attention_dim": 64}),
}  # fmt: skip


@pytest.mark.parametrize("family", TRAINED)
def test_a_file_does_the_same_by_every_loader(server, family, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    pipeline, kind, options = DENOISERS[family]
    torch.manual_seed(0)
    denoiser = getattr(diffusers, kind)(**options).eval().requires_grad_(False)
    layers, file = write_lora(family, denoiser, server.log.parent / "models" / "loras")
    plain, patched = (in_comfyui(server, family, list(layers), tmp_path, lora) for lora in ("", file.name))
    set_weights(layers, plain)
    before = predict(denoiser)

    part = "unet" if "unet" in kind.lower() else "transformer"
    module = torch.nn.ModuleDict({part: denoiser})
    lora, report = read_lora(file, 1.0, module, family)
    assert (report.matched, report.unmatched) == (len(layers), ())
    with lora_applied(module, [lora]):
        ours = predict(denoiser)

    load_in_diffusers(denoiser, getattr(diffusers, pipeline) if pipeline else None, part, file)
    assert sum(hasattr(layer, "lora_A") for layer in denoiser.modules()) == len(layers)
    theirs = predict(denoiser)
    denoiser.unload_lora()

    assert all(not torch.equal(plain[name], patched[name]) for name in layers)
    set_weights(layers, patched)
    core = predict(denoiser)
    scale = (ours - before).abs().max()
    assert scale > 1e-2
    assert (ours - theirs).abs().max() < 1e-4 * max(scale, 1) and (ours - core).abs().max() < 1e-4 * max(scale, 1)


def test_a_text_encoder_that_has_learned_is_known_to_comfyuis_own_loader(server):
    """All its layers are; and the edit by ComfyUI's own model is another one for them."""
    encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig(**_CLIP, vocab_size=8))
    generator, factors = torch.Generator().manual_seed(1), {}
    for name, layer in target_layers(encoder, ALL_LAYERS, RANK).items():
        down, up = torch.randn(RANK, layer.in_features, generator=generator), torch.randn(64, RANK, generator=generator)
        factors[f"{TEXT_PART}{name}"] = down, up
    assert len(factors) == 6 * _CLIP["num_hidden_layers"]
    path = server.log.parent / "models" / "loras" / f"text-{uuid.uuid4().hex}.safetensors"
    save_tensors(name_weights("kohya", factors, torch.float32), path, {})
    seen = len(server.log.read_text(errors="replace"))
    both = {"model": ["model", 0], "clip": ["clip", 0], "strength_model": 1.0, "strength_clip": 1.0}
    graph = {**native("instruct_pix2pix"), "image": noise(), "edit": edit(editor=["other", 0]), "plain": edit()}
    graph |= {"loaded": node("LoraLoader", lora_name=path.name, **both)}
    graph["other"] = {**graph["editor"], "inputs": {**graph["editor"]["inputs"], "clip": ["loaded", 1]}}
    found = run(server, {**graph, "seen": difference("edit", "plain")})
    assert found["seen"]["difference"][0] > 1e-3
    assert "lora key not loaded" not in server.log.read_text(errors="replace")[seen:]


def write_lora(family, denoiser, folder):
    """({name in the file: layer}, the file) of a LoRA over the layers that the family trains."""
    row, targets = TRAINED[family], next(each.lora_targets for each in FAMILIES if each.id == family)
    model = SimpleNamespace(row=row, lora_targets=targets, denoiser=denoiser, text=None)
    generator, factors = torch.Generator().manual_seed(1), {}
    layers = EditModel.layers(model, "family", RANK)
    for name, layer in layers.items():
        down = torch.randn(RANK, layer.in_features, generator=generator) * layer.in_features**-0.5
        factors[name] = down, torch.randn(layer.out_features, RANK, generator=generator) * 0.3
    path = folder / f"everywhere-{uuid.uuid4().hex}.safetensors"
    save_tensors(name_weights(row.names, factors, torch.float32), path, {})
    names = [
        each.rsplit(".lora_", 1)[0] for each in name_weights(row.names, factors, torch.float32) if ".lora_" in each
    ]
    return dict(zip(dict.fromkeys(names), layers.values(), strict=True)), path


def in_comfyui(server, family, names, folder, lora):
    """The weights of layers in ComfyUI, with a LoRA by its own loader."""
    (folder / "names.json").write_text(json.dumps(names))
    seen = len(server.log.read_text(errors="replace"))
    graph, model = {"model": diffusion_model(family)}, "model"
    if lora:
        graph["loaded"] = node("LoraLoaderModelOnly", model=["model", 0], lora_name=lora, strength_model=1.0)
        model = "loaded"
    run(server, {**graph, "write": node("TestLayersByName", model=[model, 0], folder=str(folder))})
    assert "lora key not loaded" not in server.log.read_text(errors="replace")[seen:]
    return load_file(folder / "layers.safetensors")


def set_weights(layers, weights):
    for name, layer in layers.items():
        layer.weight.copy_(weights[name].reshape(layer.weight.shape))


def load_in_diffusers(denoiser, pipeline, part, file):
    if pipeline is None:
        denoiser.load_lora_adapter(load_file(file), prefix=part)
        return
    found = pipeline.lora_state_dict(str(file.parent), weight_name=file.name)
    weights, alphas = found if isinstance(found, tuple) else (found, None)
    load = getattr(pipeline, f"load_lora_into_{part}")
    takes_alphas = "network_alphas" in inspect.signature(load).parameters
    load(weights, **{part: denoiser}, **({"network_alphas": alphas} if takes_alphas else {}))


@torch.no_grad()
def predict(denoiser):
    """What a denoiser says of random latents and a random text."""
    config, generator = denoiser.config, torch.Generator().manual_seed(2)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    if "cross_attention_dim" in config:
        inputs = {
            "sample": noise(1, 8, 8, 8),
            "timestep": 500,
            "encoder_hidden_states": noise(1, TEXT, config.cross_attention_dim),
        }
        inputs["added_cond_kwargs"] = {"text_embeds": noise(1, 64), "time_ids": torch.full((1, 6), 64.0)}
        return denoiser(**inputs, return_dict=False)[0]
    text = noise(1, TEXT, config.joint_attention_dim)
    inputs = {"hidden_states": noise(1, TOKENS, config.in_channels), "encoder_hidden_states": text}
    inputs["timestep"] = torch.tensor([0.5])
    if "Qwen" in type(denoiser).__name__:
        return denoiser(**inputs, img_shapes=[[(1, 4, 4)]], return_dict=False)[0]
    axes = len(config.axes_dims_rope)
    inputs |= {"img_ids": noise(TOKENS, axes).round(), "txt_ids": torch.zeros(TEXT, axes)}
    if config.get("guidance_embeds"):
        inputs["guidance"] = torch.tensor([2.5])
    if config.get("pooled_projection_dim") and "LongCat" not in type(denoiser).__name__:
        inputs["pooled_projections"] = noise(1, config.pooled_projection_dim)
    return denoiser(**inputs, return_dict=False)[0]
