"""The editor that makes a training's previews: the one being trained, or another one of its family that users will edit with.

A LoRA is trained on a base model but also used with its distilled version (FLUX.2 dev and Klein), which previews should show.
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
    """The editor for previews, at the size that users edit at.

    name: as in records; "" for the editor being trained. making_room: a context within which it has the device to itself.
    """

    editor: Editor
    name: str = ""
    making_room: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def is_other(self) -> bool:
        """Whether it is not the editor being trained."""
        return bool(self.name)

    def with_lora(self, path: Path) -> Editor:
        """The editor with the LoRA loaded from its file. Raises RethinkError if not all of the file fits."""
        editor, report = self.editor.with_lora(path, 1.0)
        if report.unmatched:
            raise RethinkError(f"lora: {report} This is a bug in Rethink; please report it.")
        return editor


def check_preview_editor(preview: Editor, model: EditModel, lora: TrainableLora) -> None:
    """Raise RethinkError if not everything that `model` learns fits the preview editor, because its family or size differs."""
    family, other = model.editor.family, preview.family
    advice = f"choose a version of {family.title} that is as large as the editor being trained."
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
    """How well a LoRA file would fit, tried with untrained weights."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # on Windows, what is read stays open
        path = Path(folder) / "untrained.safetensors"
        write_lora_file(path, model.row, lora, model.dtype, {})
        return preview.with_lora(path, 0.0)[1]
