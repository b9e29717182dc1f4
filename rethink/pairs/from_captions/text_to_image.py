"""Text-to-image models for Prompt-to-Prompt: opened from a folder, or found inside an editor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...errors import RethinkError, lazy_import
from ...model_files import model_name, snapshot_of

if TYPE_CHECKING:
    from ...editors.lora import Lora
    from ...editors.protocol import LoraReport

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
PARTS = ("text_encoder", "text_encoder_2", "vae", "unet")  # of these pipelines, which a LoRA may change


@dataclass
class TextToImageModel:
    """A text-to-image pipeline with those parts of an editor's interface that drawing pairs needs."""

    name: str
    pipe: Any
    loras: tuple[Lora, ...] = ()

    def with_lora(self, path: str | PathLike, strength: float) -> tuple[TextToImageModel, LoraReport]:
        """As `Editor.with_lora`."""
        from ...editors.lora import read_lora

        lora, report = read_lora(path, strength, self._modules(), "Stable Diffusion")
        return replace(self, loras=(*self.loras, lora)), report

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """The pipeline, with its LoRAs applied, as a context manager."""
        from ...editors.lora import lora_applied

        with lora_applied(self._modules(), self.loras):
            yield self.pipe

    def _modules(self) -> Any:
        from torch import nn

        parts = {name: getattr(self.pipe, name, None) for name in PARTS}
        return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})


def open_text_to_image(folder: str | Path, device: str = "cpu") -> TextToImageModel:
    """The pipeline that `load_text_to_image` loads, with its name."""
    return TextToImageModel(model_name(snapshot_of(Path(folder))), load_text_to_image(folder, device))


def load_text_to_image(folder: str | Path, device: str = "cpu") -> Any:
    """A StableDiffusionPipeline or StableDiffusionXLPipeline from a diffusers folder of safetensors.

    Raises RethinkError naming the folder for anything else. Nothing is downloaded.
    """
    import torch

    from ...editors.pipeline_folder import open_pipeline, read_index

    folder = snapshot_of(Path(folder))
    index = read_index("model", folder)
    name = index.get("_class_name")
    if name not in PIPELINES:
        raise RethinkError(f"model: {folder} is a {name}; Prompt-to-Prompt works with {' and '.join(PIPELINES)}.")
    pipeline = open_pipeline("model", folder, index, getattr(lazy_import("diffusers"), name), torch.float32)
    return optimize_pipeline(pipeline, device)


def optimize_pipeline(pipeline: Any, device: str = "cpu") -> Any:
    """The pipeline on its device, in the precision that is fast there: fp16 on a GPU; fp32 on a CPU, with the U-Net in
    bf16 where the processor has instructions for it. The memory format is channels-last, as in `load_editor`."""
    import torch

    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae):
        part.to(memory_format=torch.channels_last)
    pipeline.to(device, torch.float32 if device == "cpu" else torch.float16)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
    if device == "cpu" and (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        pipeline.unet.to(torch.bfloat16)
    return pipeline


@contextmanager
def text_to_image(editor: Any) -> Iterator[Any]:
    """The text-to-image pipeline inside an editor, with its LoRAs. Raises RethinkError where the editor has none."""
    context = cast(AbstractContextManager[Any], getattr(editor, "pipeline", nullcontext)())
    with context as pipeline:
        unet = getattr(pipeline, "unet", None)
        if unet is None or unet.config.in_channels != pipeline.vae.config.latent_channels:
            raise RethinkError(
                f"editor: {editor.name} does not generate from text alone; load a Stable Diffusion or Stable Diffusion XL "
                "model that is not an editing model."
            )
        yield pipeline


def sample_side(editor: Any) -> int:
    """The side in pixels of the images that an editor generates from text. Raises RethinkError as `text_to_image` does."""
    with text_to_image(editor) as pipeline:
        return pipeline.unet.config.sample_size * 8
