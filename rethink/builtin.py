"""Paths of the built-in models: ordinary model folders, loaded by the ordinary code. Imports nothing heavy."""

from pathlib import Path

_TINY = Path(__file__).parent / "tiny"

EDITOR_FOLDER = _TINY / "editor"  # a StableDiffusionInstructPix2PixPipeline
CLIP_FOLDER = _TINY / "clip"  # a CLIPModel with its processor
THINKER_FOLDER = _TINY / "thinker"  # a Qwen3VLForConditionalGeneration
