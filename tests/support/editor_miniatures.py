"""Editors that are miniatures with random weights, and LoRAs for them."""

import importlib.util
from collections import Counter
from copy import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rethink.editors.common import SourceCache
from rethink.editors.encoder_cache import EncoderCache
from rethink.editors.loading import load_editor
from tests.support.family_miniatures import MINIATURES, SIDE, flux2, joy, longcat, qwen, write
from tests.support.miniatures import INSTRUCT, write_folder

RANK = 4  # of the LoRAs
OWN = {"instruct_pix2pix": INSTRUCT, "sdedit": "StableDiffusionImg2ImgPipeline"}  # the two that our own loop samples
# For the processors of their vision-language models.
NEED_TORCHVISION = {kind for kind, (build, _) in MINIATURES.items() if build in (qwen, longcat, flux2, joy)}


def opened(kind: str, root: Path, **options):
    """The editor of a miniature, loaded from its folder in `root`; options: those of load_editor."""
    folder = root / kind
    if not folder.exists():
        write_folder(folder, OWN[kind]) if kind in OWN else write(kind, folder)
    editor = load_editor(folder, **options)
    if hasattr(editor._pipeline, "default_sample_size"):  # a megapixel for some, whatever their parts
        editor._pipeline.default_sample_size = SIDE // editor._pipeline.vae_scale_factor
    return editor


def shrink(monkeypatch) -> None:
    """Make the pipelines work at pictures of 64 × 64 instead of a megapixel, which some of them count on."""
    from diffusers.pipelines.flux import pipeline_flux_kontext
    from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
    from diffusers.pipelines.joyimage import image_processor
    from diffusers.pipelines.longcat_image import pipeline_longcat_image_edit
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus

    for module in (pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus, pipeline_longcat_image_edit):
        rule = module.calculate_dimensions
        own = (1024 * 1024, 384 * 384)  # areas that stand in the pipelines themselves
        monkeypatch.setattr(
            module,
            "calculate_dimensions",
            lambda area, ratio, rule=rule, own=own: rule(SIDE * SIDE if area in own else area, ratio),
        )
    monkeypatch.setattr(pipeline_flux_kontext, "PREFERRED_KONTEXT_RESOLUTIONS", [(SIDE, SIDE), (48, 80), (80, 48)])
    monkeypatch.setattr(image_processor, "BUCKETS", {1024: [(SIDE, SIDE), (48, 80), (80, 48)]})
    monkeypatch.setattr(Flux2ImageProcessor, "check_image_input", staticmethod(lambda image: image))  # 64 pixels a side


def count_encodes(editor, patch):
    """How often the encoders of `editor` run from now on, by name. patch(owner, name, value) sets an attribute."""
    calls = Counter()
    parts = {name: part for name, part in editor.module.items() if name == "vae" or name.startswith("text_encoder")}
    sight = getattr(getattr(parts["text_encoder"], "model", None), "visual", None)
    if sight is not None:
        parts["sight"] = sight

    def count(name, owner, method):
        original = getattr(owner, method)
        patch(owner, method, lambda *args, **options: calls.update([name]) or original(*args, **options))

    for name, part in parts.items():
        count(name, part, "encode" if name == "vae" else "forward")
    return calls


def denoiser(editor):
    return next(part for part in ("transformer", "unet") if part in editor.module)


def layers(editor, *parts):
    """The layers that the family's row names as LoRA targets → (inputs, outputs) as shapes of two factors."""
    found = {}
    for part in parts or (denoiser(editor),):
        for name, layer in editor.module[part].named_modules():
            wanted = name.endswith(editor.family.lora_targets) if part == denoiser(editor) else name.endswith("q_proj")
            if wanted and isinstance(layer, torch.nn.Linear):
                found[f"{part}.{name}"] = layer
    return found


def factors(editor, *parts, scale=0.2):
    generator = torch.Generator().manual_seed(3)
    return {
        name: (
            torch.randn(RANK, layer.in_features, generator=generator) * scale,
            torch.randn(layer.out_features, RANK, generator=generator) * scale,
        )
        for name, layer in layers(editor, *parts).items()
    }


def as_diffusers(pairs):
    return {f"{n}.lora_{x}.weight": w for n, pair in pairs.items() for x, w in zip("AB", pair)}


def write_lora(weights, folder, name="lora", metadata=None):
    file = Path(folder) / f"{name}.safetensors"
    save_file({key: weight.contiguous().clone() for key, weight in weights.items()}, file, metadata)
    return file


def available(kind):
    """The kind, or a skipped test where what it needs is not installed."""
    if kind in NEED_TORCHVISION and importlib.util.find_spec("torchvision") is None:
        pytest.skip("the processor of its vision-language model needs torchvision")
    return kind


def opened_or_skipped(kind, root, **options):
    return opened(available(kind), root, **options)


def forgetful(editor):
    """An editor over the same modules that remembers nothing yet."""
    view = copy(editor)
    view._last_source = SourceCache()
    for name, nothing in (("_encoder_cache", EncoderCache()), ("_texts", {})):
        if hasattr(editor, name):
            setattr(view, name, nothing)
    return view
