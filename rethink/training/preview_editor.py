"""The editor that makes a training's previews: the one that learns, or another of its family that users will edit with.

A LoRA is trained over a base and used over what was distilled from it too (FLUX.2 dev and Klein): its previews should show that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from .lora_run import write_lora_file

if TYPE_CHECKING:
    from ..editors.protocol import Editor, LoraReport
    from .edit_model import EditModel
    from .trainable_lora import TrainableLora


@dataclass(frozen=True, eq=False)
class PreviewEditor:
    """What edits the previews, at the size that users edit at.

    name: as records say it; "" where it is the editor that learns. making_room: within what it gives, the device is its own.
    """

    editor: Editor
    name: str = ""
    making_room: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def is_other(self) -> bool:
        """Whether it is another one than the editor that learns."""
        return bool(self.name)

    def with_lora(self, path: Path) -> Editor:
        """It with the LoRA as its file has it. Raises RethinkError where not all of the file fits."""
        editor, report = self.editor.with_lora(path, 1.0)
        if report.unmatched:
            raise RethinkError(f"lora: {report} This is a fault of Rethink; please report it.")
        return editor


def check_preview_editor(preview: Editor, model: EditModel, lora: TrainableLora) -> None:
    """Raise RethinkError where not all that `model` learns fits the editor of the previews: it is of another family, or of
    another size."""
    family, other = model.editor.family, preview.family
    advice = f"choose a version of {family.title} that is as large as the editor that learns."
    if other.id != family.id:
        raise RethinkError(f"preview_editor: {preview.name} is of another family, {other.title}; {advice}")
    try:
        report = _try_lora(preview, model, lora)
    except RethinkError as error:
        raise RethinkError(
            f"preview_editor: what {model.editor.name} learns does not fit ({error}); {advice}"
        ) from error
    if report.unmatched:
        total = report.matched + len(report.unmatched)
        raise RethinkError(f"preview_editor: {report.matched} of {total} layers fit {preview.name}; {advice}")


def _try_lora(preview: Editor, model: EditModel, lora: TrainableLora) -> LoraReport:
    """How a file of what is learned fits, before anything is."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # on Windows, what is read stays open
        path = Path(folder) / "untrained.safetensors"
        write_lora_file(path, model.row, lora, model.dtype, {})
        return preview.with_lora(path, 0.0)[1]
