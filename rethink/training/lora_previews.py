"""Previews: pairs edited by every save, next to their targets, with scores of these edits."""

from __future__ import annotations

import hashlib
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
LONGEST_SIDE = 1024  # in pixels, of the copies of inputs and targets that are kept to look at


@dataclass(frozen=True)
class Previews:
    """The previews of one save: the files of its edits, the scores of each, and their pairs."""

    files: tuple[str, ...]
    scores: tuple[Scores, ...]
    pairs: tuple[PreviewPair, ...]


@dataclass(frozen=True, eq=False)
class Try:
    """An edit that every save makes. source, target: IMAGE [1, H, W, 3]; there is no target, and so no score, for the user's own
    instruction. name: of its files. references: other images that the edit is made with."""

    instruction: str
    source: Tensor
    target: Tensor | None
    name: str
    seed: int
    references: tuple[Tensor, ...] = ()


class Previewer:
    """Edits the same pairs with the same seeds at every save.

    base: the editor before training. thinker: if there is one, it also scores the edits. instruction: one more edit of the first
    pair's input, in the user's own words. by: the name of the editor, if it is not the one being trained. newest: the first input
    and its newest edit, side by side as one IMAGE.
    """

    def __init__(
        self,
        run: LoraRun,
        base: Editor,
        pairs: Sequence[LoraPair],
        thinker: Thinker | None = None,
        instruction: str = "",
        by: str = "",
    ):
        self._run, self._base_editor, self._pairs, self._thinker = run, base, pairs, thinker
        self._instruction = instruction.strip()
        self._suffix = f"-{_short_digest(by)}" if by else ""  # another editor has other files
        self._base: dict[str, Scores] = {}
        self._may_be_of_another = bool(by)  # existing files may be by another editor of the same name
        self.newest: Tensor | None = None

    def edit(self, editor: Editor, step: int, on_try: Callable[[int], None] = lambda number: None) -> Previews:
        """Edit everything with the editor after `step` steps, and once with the base editor. on_try: called before each edit with
        its number, from 1 on."""
        files, scores, pairs = [], [], []
        for number, each in enumerate(self._tries, 1):
            on_try(number)
            base, file = self._edited(self._base_editor, each, 0), self._edited(editor, each, step)
            if each.name not in self._base:
                self._base[each.name] = self._score(each, load_image(base))
            edited = load_image(file)
            scores.append(self._score(each, edited))
            if number == 1:
                self.newest = torch.cat([each.source, _resize(edited, each.source)], 2)
            files.append(self._run.relative(file))
            pairs.append(self._keep(each, base))
        return Previews(tuple(files), tuple(scores), tuple(pairs))

    @cached_property
    def _tries(self) -> list[Try]:
        """The pairs whose files still exist, and the user's own edit."""
        found: list[Try] = []
        for number, pair in enumerate(self._pairs):
            with suppress(RethinkError):
                images, references = pair.images(), pair.load_references()
                found.append(
                    Try(pair.instruction, *images, name=f"{number}{self._suffix}", seed=number, references=references)
                )
        if self._instruction and found:
            name = f"own-{_short_digest(self._instruction)}{self._suffix}"  # another instruction has other files
            found.append(Try(self._instruction, found[0].source, None, name, 0, found[0].references))
        return found

    def _edited(self, editor: Editor, each: Try, step: int) -> Path:
        """The file of an edit; edits by the base editor (step 0) are reused."""
        file = self._run.preview_path(step, each.name)
        is_new = each.name not in self._base
        if step or not file.is_file() or (self._may_be_of_another and is_new):
            prepared = editor.prepare(each.source, each.references)
            save_image(editor.edit(prepared, [each.instruction], [each.seed]), file)
        return file

    def _score(self, each: Try, edited: Tensor) -> Scores:
        if each.target is None:
            return {}
        scores: Scores = dict(asdict(match_target(each.source, each.target, edited)))
        if self._thinker is not None:
            found = critique(self._thinker, each.source, [edited], each.instruction, [each.instruction], [each.seed])[0]
            scores |= {"thinker": found.overall, "note": found.reasoning or found.note}
        return scores

    def _keep(self, each: Try, base: Path) -> PreviewPair:
        """The pair with copies of its images in the run's folder, where pages find them."""
        input, *references = (
            self._keep_image(f"image{number}" if number > 1 else "input", each.name, image)
            for number, image in enumerate((each.source, *each.references), 1)
        )
        target = "" if each.target is None else self._keep_image("target", each.name, each.target)
        return PreviewPair(
            *(each.instruction, input, target),
            base=self._run.relative(base),
            scores=self._base[each.name],
            references=tuple(references),
        )

    def _keep_image(self, side: str, name: str, image: Tensor) -> str:
        """Keep a copy that is small enough for pages; the file as named in records."""
        file = self._run.side_path(side, name)
        if not file.is_file():
            save_image(_shrink(image), file)
        return self._run.relative(file)


def _short_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


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
