"""Who takes part in a comparison: editors, each alone or with LoRAs at strengths, with settings of its own, thinking or not."""

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
    """Of a variant that was loaded by somebody else."""


@dataclass(frozen=True)
class Variant:
    """One that takes part. name: for people. record: all that its edits depend on besides the task, as JSON has it. open: loads it,
    and raises RethinkError where it cannot be. release: lets go of what it has loaded."""

    name: str
    record: Mapping[str, Any]
    open: Callable[[], EditSetup]
    release: Callable[[], None] = _keep

    @cached_property
    def key(self) -> str:
        """What its edits and its votes are known by: other settings are another variant, whatever its name."""
        text = json.dumps(self.record, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True)
class LoraChoice:
    """A LoRA over an editor. name: for people, "" for that of its file."""

    file: Path
    strength: float = 1.0
    name: str = ""

    @property
    def label(self) -> str:
        """ "snow × 0.8"."""
        return f"{self.name or self.file.stem} × {self.strength:g}"


@dataclass(frozen=True)
class EditorChoice:
    """An editor by its path. settings: of its edits. loras: over it in every variant."""

    name: str
    path: Path
    settings: Settings = DEFAULT_SETTINGS
    loras: tuple[LoraChoice, ...] = ()


@dataclass(frozen=True)
class VariantPlan:
    """Everything that is combined: every editor with every one of the compared LoRAs at every strength, and thinking too.

    strengths: at which the compared LoRAs are tried, in place of their own. checkpoints: the folder of a training, whose saves are
    compared too. baseline: whether an editor also takes part without any of the compared LoRAs. thinking: how every variant takes
    part a second time; None for not at all.
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
        """All of them, those of one editor in a row, so that each is loaded once. Raises RethinkError for files that are missing."""
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
            raise RethinkError("strengths: of which LoRA? Name LoRAs to compare, or the folder of a training.")
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
    """Holds the editor that was loaded last: its variants share its weights."""

    def __init__(self, plan: VariantPlan):
        self._plan, self._path = plan, Path()
        self._editor: Editor | None = None

    def editor(self, path: Path, loras: Sequence[LoraChoice]) -> Editor:
        """The editor of a path with LoRAs over it."""
        from ..editors.loading import add_lora, load_editor

        if self._editor is None or path != self._path:
            self._editor = None  # before the next one takes its memory
            plan = self._plan
            how = asdict(plan.load)
            self._editor = load_editor(path, device=plan.device, tokenizer=plan.tokenizer, **how)
            self._path = path
        editor = self._editor
        for lora in loras:
            editor, _ = add_lora(editor, lora.file, lora.strength)
        return editor

    def clear(self) -> None:
        """Make room for other models."""
        self._editor = None


def variant_of(setup: EditSetup, name: str = "") -> Variant:
    """A variant of an editor that is loaded already. name: where its user has given it one, which then tells it from others; "" for
    the editor's own."""
    files = list(getattr(setup.editor, "lora_files", ()))
    plain = f"{setup.editor.name} + thinking" if setup.thinking else setup.editor.name
    return Variant(name or plain, {**setup.record, "lora_files": files, "name": name}, lambda: setup)


def check_variants(variants: Sequence[Variant]) -> None:
    """Raises RethinkError unless there are two or more, and no two of a name or alike in everything."""
    if len(variants) < 2:
        found = f"only “{variants[0].name}”" if variants else "none"
        raise RethinkError(
            f"editors: a comparison takes two or more, got {found}; add an editor, LoRAs, strengths or the saves of a training."
        )
    names: dict[str, Variant] = {}
    keys: dict[str, str] = {}
    for variant in variants:
        if variant.name in names:
            raise RethinkError(f"editors: two are called “{variant.name}”; give each a name of its own.")
        if variant.key in keys:
            raise RethinkError(
                f"editors: “{variant.name}” is the same as “{keys[variant.key]}” in everything; leave one out."
            )
        names[variant.name], keys[variant.key] = variant, variant.name


def saves_of(folder: Path) -> list[LoraChoice]:
    """The saves of a training, oldest first. Raises RethinkError where there are none."""
    run = LoraRun(folder)
    record = run.read_record()
    if record is None:
        raise RethinkError(f"checkpoints: {folder} has no {RECORD} of a training; give the folder that it reports.")
    saves = [
        LoraChoice(folder / save.file, 1.0, f"step {save.step}")
        for save in record.saves
        if (folder / save.file).is_file()
    ]
    if not saves:
        raise RethinkError(f"checkpoints: the training in {folder} has no saves left.")
    return saves
