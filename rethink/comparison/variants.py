"""The variants in a comparison: editors, alone or with LoRAs at some strength, with their own settings, with or without thinking."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..benchmarking.editing import EditSetup, Thinking
from ..editors.settings import DEFAULT_SETTINGS, LoadSettings, Settings
from ..errors import RethinkError
from ..model_files import fingerprint_files
from ..training.lora_run import RECORD, LoraRun

if TYPE_CHECKING:
    from ..editors.protocol import Editor

KEY_LENGTH = 12  # hex digits
DEFAULT_LOADING = LoadSettings()


def _keep() -> None:
    """Release nothing: the variant was loaded elsewhere."""


@dataclass(frozen=True)
class Variant:
    """A variant in a comparison. name: for people. record: everything its edits depend on besides the task, as JSON values. open: loads
    it, or raises RethinkError. release: frees what it loaded."""

    name: str
    record: Mapping[str, Any]
    open: Callable[[], EditSetup]
    release: Callable[[], None] = _keep

    @cached_property
    def key(self) -> str:
        """The key of its edits and votes: other settings make another variant, whatever its name."""
        text = json.dumps(self.record, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True)
class LoraChoice:
    """A LoRA for an editor. name: for people, "" for the name of its file."""

    file: Path
    strength: float = 1.0
    name: str = ""

    @property
    def label(self) -> str:
        """The name with the strength, like "snow × 0.8"."""
        return f"{self.name or self.file.stem} × {self.strength:g}"


@dataclass(frozen=True)
class EditorChoice:
    """An editor by its path. settings: of its edits. loras: added in every variant."""

    name: str
    path: Path
    settings: Settings = DEFAULT_SETTINGS
    loras: tuple[LoraChoice, ...] = ()


@dataclass(frozen=True)
class VariantPlan:
    """Combines every editor with every compared LoRA at every strength, and optionally with thinking.

    strengths: tried for the compared LoRAs instead of their own. checkpoints: the folder of a training whose checkpoints are compared
    too. baseline: whether every editor is also compared without any of the compared LoRAs. thinking: runs every variant a second
    time, with thinking; None for no thinking.
    """

    editors: tuple[EditorChoice, ...]
    compared: tuple[LoraChoice, ...] = ()
    strengths: tuple[float, ...] = ()
    checkpoints: Path | None = None
    baseline: bool = True
    thinking: Thinking | None = None
    seed: int = 0
    load: LoadSettings = DEFAULT_LOADING
    device: str = "cpu"
    tokenizer: Path | None = None

    def variants(self) -> list[Variant]:
        """All variants, grouped by editor, so that each editor is loaded once. Raises RethinkError for missing files."""
        tried = list(self._tried())
        shelf = _Shelf(self)
        return [
            self._variant(shelf, editor, loras, thinking)
            for editor in self.editors
            for loras in tried
            for thinking in ((None, self.thinking) if self.thinking else (None,))
        ]

    def _tried(self) -> Iterator[tuple[LoraChoice, ...]]:
        compared = [*self.compared, *(saves_of(self.checkpoints) if self.checkpoints else ())]
        if self.strengths and not compared:
            raise RethinkError(
                "strengths: there is no LoRA to try them on; name LoRAs to compare, or the folder of a training."
            )
        if self.baseline or not compared:
            yield ()
        for lora in compared:
            for strength in self.strengths or (lora.strength,):
                yield (replace(lora, strength=strength),)

    def _variant(
        self, shelf: _Shelf, editor: EditorChoice, loras: tuple[LoraChoice, ...], thinking: Thinking | None
    ) -> Variant:
        every = (*editor.loras, *loras)
        name = " + ".join([editor.name, *(lora.label for lora in every), *(["thinking"] if thinking else [])])
        names = tuple(lora.label for lora in every)

        def open_setup() -> EditSetup:
            return EditSetup(shelf.editor(editor.path, every), editor.settings, self.seed, thinking, names)

        record = {
            "editor": editor.path.name,
            "files": fingerprint_files(editor.path),
            "loras": [(fingerprint_files(lora.file), lora.strength) for lora in every],
            "load": asdict(self.load),
            "settings": editor.settings.as_inputs(),
            "seed": self.seed,
            "thinking": thinking.record if thinking else None,
        }
        return Variant(name, record, open_setup, shelf.clear)


class _Shelf:
    """Keeps the editor that was loaded last, so that its variants share its weights."""

    def __init__(self, plan: VariantPlan):
        self._plan, self._path = plan, Path()
        self._editor: Editor | None = None

    def editor(self, path: Path, loras: Sequence[LoraChoice]) -> Editor:
        """The editor at a path, with LoRAs added."""
        from ..editors.loading import add_lora, load_editor

        if self._editor is None or path != self._path:
            self._editor = None  # free its memory before the next one is loaded
            plan = self._plan
            how = asdict(plan.load)
            self._editor = load_editor(path, device=plan.device, tokenizer=plan.tokenizer, **how)
            self._path = path
        editor = self._editor
        for lora in loras:
            editor, _ = add_lora(editor, lora.file, lora.strength)
        return editor

    def clear(self) -> None:
        """Free the memory for other models."""
        self._editor = None


def variant_of(setup: EditSetup, name: str = "") -> Variant:
    """A variant of an editor that is already loaded. name: one that the user gave it, which then distinguishes it from others; "" for
    the editor's own."""
    files = list(getattr(setup.editor, "lora_files", ()))
    plain = f"{setup.editor.name} + thinking" if setup.thinking else setup.editor.name
    return Variant(name or plain, {**setup.record, "lora_files": files, "name": name}, lambda: setup)


def check_variants(variants: Sequence[Variant]) -> None:
    """Raise RethinkError unless there are at least two, all different and with different names."""
    if len(variants) < 2:
        found = f"only “{variants[0].name}”" if variants else "none"
        raise RethinkError(
            f"editors: a comparison takes two or more, got {found}; add an editor, LoRAs, strengths or the checkpoints of a training."
        )
    names: dict[str, Variant] = {}
    keys: dict[str, str] = {}
    for variant in variants:
        if variant.name in names:
            raise RethinkError(f"editors: two are called “{variant.name}”; give each its own name.")
        if variant.key in keys:
            raise RethinkError(f"editors: “{variant.name}” is identical to “{keys[variant.key]}”; leave one out.")
        names[variant.name], keys[variant.key] = variant, variant.name


def saves_of(folder: Path) -> list[LoraChoice]:
    """The checkpoints of a training, oldest first. Raises RethinkError if there are none."""
    run = LoraRun(folder)
    record = run.read_record()
    if record is None:
        raise RethinkError(
            f"checkpoints: {folder} has no {RECORD} of a training; give the folder named in the training's report."
        )
    saves = [
        LoraChoice(folder / save.file, 1.0, f"step {save.step}")
        for save in record.saves
        if (folder / save.file).is_file()
    ]
    if not saves:
        raise RethinkError(f"checkpoints: the training in {folder} has no checkpoints left; choose another one.")
    return saves
