"""Held-out pairs, edited by what was saved, beside what they should become; and what is measured of these edits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import RethinkError
from ..evaluation.target_match import match_target
from ..images import load_image, save_image
from ..thinkers.critique import Thinker, critique
from .lora_pairs import LoraPair
from .lora_run import LoraRun, PreviewPair

if TYPE_CHECKING:
    from ..editors.protocol import Editor

Scores = dict[str, float | str | None]
LONGEST_SIDE = 1024  # of inputs and targets as they are kept to look at, in pixels


@dataclass(frozen=True)
class Previews:
    """Of one save: its edits by their files, what was measured of each, and the pairs they are of."""

    files: tuple[str, ...]
    scores: tuple[Scores, ...]
    pairs: tuple[PreviewPair, ...]


class Previewer:
    """Edits the same held-out pairs with the same seeds at every save.

    base: the editor as it was before. thinker: also scores the edits, where there is one. on_pair: told before each pair, with
    its number from 1 on. newest: the first input and its newest edit, side by side as one IMAGE.
    """

    def __init__(self, run: LoraRun, base: Editor, pairs: Sequence[LoraPair], thinker: Thinker | None = None):
        self._run, self._base_editor, self._pairs, self._thinker = run, base, pairs, thinker
        self._base: dict[int, Scores] = {}
        self.newest: Tensor | None = None

    def edit(self, editor: Editor, step: int, on_pair: Callable[[int], None] = lambda number: None) -> Previews:
        """Edit all pairs with the editor after so many steps, and once with the editor that was before."""
        files, scores, pairs = [], [], []
        for number, (pair, (source, target)) in enumerate(self._opened):
            on_pair(number + 1)
            base = self._edited(self._base_editor, source, pair.instruction, number, 0)
            file = self._edited(editor, source, pair.instruction, number, step)
            if number not in self._base:
                self._base[number] = self._score(pair, source, target, load_image(base), number)
            edited = load_image(file)
            scores.append(self._score(pair, source, target, edited, number))
            if not number:
                self.newest = torch.cat([source, _resize(edited, source)], 2)
            files.append(self._run.relative(file))
            pairs.append(self._keep(pair, source, target, number, base))
        return Previews(tuple(files), tuple(scores), tuple(pairs))

    @cached_property
    def _opened(self) -> list[tuple[LoraPair, tuple[Tensor, Tensor]]]:
        """The pairs with their images; those whose files have gone are left out."""
        opened = []
        for pair in self._pairs:
            with suppress(RethinkError):
                opened.append((pair, pair.images()))
        return opened

    def _edited(self, editor: Editor, source: Tensor, instruction: str, number: int, step: int) -> Path:
        """The file of an edit; what the editor alone makes of a pair stays the same."""
        file = self._run.preview_path(step, number)
        if step or not file.is_file():
            save_image(editor.edit(editor.prepare(source), [instruction], [number]), file)
        return file

    def _score(self, pair: LoraPair, source: Tensor, target: Tensor, edited: Tensor, seed: int) -> Scores:
        scores: Scores = dict(asdict(match_target(source, target, edited)))
        if self._thinker is not None:
            found = critique(self._thinker, source, [edited], pair.instruction, [pair.instruction], [seed])[0]
            scores |= {"thinker": found.overall, "note": found.reasoning or found.note}
        return scores

    def _keep(self, pair: LoraPair, source: Tensor, target: Tensor, number: int, base: Path) -> PreviewPair:
        """The pair with copies of its images in the run's folder, where pages find them."""
        files = {name: self._run.side_path(name, number) for name in ("input", "target")}
        for file, image in zip(files.values(), (source, target)):
            if not file.is_file():
                save_image(_shrink(image), file)
        names = {name: self._run.relative(file) for name, file in files.items()}
        return PreviewPair(pair.instruction, **names, base=self._run.relative(base), scores=self._base[number])


def _shrink(image: Tensor) -> Tensor:
    scale = LONGEST_SIDE / max(image.shape[1:3])
    if scale >= 1:
        return image
    return _scale(image, (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[2] * scale))))


def _resize(image: Tensor, like: Tensor) -> Tensor:
    size = like.shape[1:3]
    return image if image.shape[1:3] == size else _scale(image, (int(size[0]), int(size[1])))


def _scale(image: Tensor, size: tuple[int, int]) -> Tensor:
    scaled = torch.nn.functional.interpolate(image.movedim(-1, 1), size, mode="bilinear", antialias=True)
    return scaled.clamp(0, 1).movedim(1, -1)
