"""The models of a job: identified by name before they are loaded, and loaded where they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Generic, TypeVar

from ..names import name_anywhere

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..evaluation.clip_similarity import Clip

Model = TypeVar("Model")


@dataclass(frozen=True)
class ModelSource(Generic[Model]):
    """A model and how to load it, here or on another machine.

    name: for records and ids. concurrency: how many questions it can be asked at once.
    """

    name: str
    load: Callable[[], Model]
    concurrency: int = 1

    def load_now(self) -> ModelSource[Model]:
        """The same, already loaded, so that errors are raised here."""
        model = self.load()
        return replace(self, load=lambda: model)


def model_id(name: str) -> str:
    """The name of a model without its folders on this machine, which do not identify it. LoRAs follow " + ", a server "
    @ "."""
    model = name_anywhere(name)
    short = " + ".join(PurePosixPath(part.replace("\\", "/")).name for part in model.split(" + "))
    return short + name[len(model) :]


class LazyClip:
    """A CLIP that is loaded once there is something to measure: changing a threshold does not need it."""

    def __init__(self, source: ModelSource[Clip]):
        self.name, self._load = source.name, source.load

    @cached_property
    def _clip(self) -> Clip:
        return self._load()

    def images(self, images: Sequence[np.ndarray]) -> Tensor:
        """As `Clip.images`."""
        return self._clip.images(images)

    def texts(self, captions: Sequence[str]) -> Tensor:
        """As `Clip.texts`."""
        return self._clip.texts(captions)
