"""The built-in world, its exact oracle, and the built-in models: ordinary folders, loaded by the ordinary code."""

from pathlib import Path

from .oracle import Verdict, judge
from .scene import Scene, SceneObject, render
from .tasks import KINDS, LEVELS, Task, sample_task

EDITOR_FOLDER = Path(__file__).parent / "editor"  # a StableDiffusionInstructPix2PixPipeline
CLIP_FOLDER = Path(__file__).parent / "clip"  # a CLIPModel with its processor
THINKER_FOLDER = Path(__file__).parent / "thinker"  # a Qwen3VLForConditionalGeneration

__all__ = [
    "CLIP_FOLDER",
    "EDITOR_FOLDER",
    "KINDS",
    "LEVELS",
    "THINKER_FOLDER",
    "Scene",
    "SceneObject",
    "Task",
    "Verdict",
    "judge",
    "render",
    "sample_task",
]
