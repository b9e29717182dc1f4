"""The built-in world, its exact oracle, and how the built-in models are made (`builtin.py` says where they are)."""

from .oracle import Verdict, judge
from .scene import Scene, SceneObject, render
from .tasks import KINDS, LEVELS, Task, sample_task

__all__ = [
    "KINDS",
    "LEVELS",
    "Scene",
    "SceneObject",
    "Task",
    "Verdict",
    "judge",
    "render",
    "sample_task",
]
