"""The job of training a LoRA on pairs, as a node and a command start it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import check_target
from ..errors import OutOfMemoryError, RethinkError, is_out_of_memory
from ..pairs.store import PairStore
from ..progress import OnProgress, ignore_progress
from ..thinkers.critique import Thinker
from .edit_lora import LoraTraining
from .edit_model import EditModel, open_edit_model
from .lora_pairs import check_references_of, read_pairs
from .lora_run import check_own_file
from .lora_saves import TrainReport
from .lora_settings import LoraSettings
from .noising import choose_times
from .pair_sides import check_sides
from .preview_editor import PreviewEditor
from .process_group import ALONE, ProcessGroup
from .trainable_parts import trainable_parts

if TYPE_CHECKING:
    from ..editors.protocol import Editor


@dataclass(frozen=True)
class TrainEditLoraJob:
    """Train a LoRA on pairs, over an editor that stays as it is.

    pairs: what to learn; those that are accepted. output: the file, which ComfyUI and diffusers load. folder: where runs are
    kept: each in a folder of its own by its settings, so that the same job goes on and another one starts anew. thinker: also
    scores the previews of every save, and looks at some pairs first: are input and target swapped? preview_editor: makes the
    previews in place of the editor that learns, such as what was distilled from it. making_room: within what it gives, that
    one has the device; None: what learns waits in main memory meanwhile.
    """

    pairs: PairStore
    output: Path
    folder: Path
    settings: LoraSettings = field(default_factory=LoraSettings)
    thinker: Thinker | None = None
    preview_editor: Editor | None = None
    making_room: Callable[[], AbstractContextManager[None]] | None = None

    def run(
        self, editor: Editor, on_progress: OnProgress = ignore_progress, processes: ProcessGroup = ALONE
    ) -> TrainReport:
        """Train, or go on with a run that was cut off. What `on_progress` raises ends it; the newest and the best LoRA are
        kept then. processes: that train together, each with an editor of its own.

        Raises RethinkError for what is wrong with the pairs, the editor or the settings, before any work; and when the loss
        explodes, with the last good LoRA kept.
        """
        model = open_edit_model(editor)
        check_target(self.output, "output")
        check_own_file(self.output)
        check_references_of(self.pairs, editor.family.title, editor.family.references)
        pairs = read_pairs(self.pairs)
        settings = adapt(self.settings, model)
        if settings.accumulate < processes.count:
            raise RethinkError(
                f"accumulate: {processes.count} processes share the batches of a step, so it must be {processes.count} or more; it is "
                f"{settings.accumulate}."
            )
        with trainable_parts(model.editor.module), _oom_guard(settings, model):
            training = LoraTraining(
                *(settings, self.output, self.folder, model, pairs, on_progress, self.thinker, processes),
                preview=self._preview_editor(editor, model),
            )
            if self.thinker is not None and processes.is_main and not training.run_folder.is_begun:
                check_sides(pairs, self.thinker)
            return training.run()

    def _preview_editor(self, editor: Editor, model: EditModel) -> PreviewEditor:
        """editor: the one that learns, at its own size, as users will edit."""
        if self.preview_editor is None or self.preview_editor is editor:
            return PreviewEditor(editor)
        name = self.preview_editor.name
        if name == editor.name:  # as ComfyUI's own models of a family are
            name = f"{name} (preview_editor)"
        return PreviewEditor(self.preview_editor, name, self.making_room or model.waiting)


def adapt(settings: LoraSettings, model: EditModel) -> LoraSettings:
    """The settings with what suits the model's family where they leave it open; the model trains as they say."""
    if settings.megapixels:
        model.work_at(round(settings.megapixels * 2**20))
    if settings.text_encoder:
        model.learn_text()
    settings = settings.for_family(model.row)
    model.row = replace(model.row, drop_text=settings.drop_instruction)
    model.noise = choose_times(model.noise, settings.timesteps, settings.shift)
    return settings


@contextmanager
def _oom_guard(settings: LoraSettings, model: EditModel) -> Iterator[None]:
    """Within it, that memory runs out is an OutOfMemoryError that says what to lower, what saves most first."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        lower = [f"batch (it is {settings.batch}; accumulate does the same)"] if settings.batch > 1 else []
        lower += [model.memory_advice]
        lower += ["optimizer (adamw 8-bit)"] if settings.optimizer == "adamw" else []
        lower += [f"rank (it is {settings.rank})"] + (["layers (family)"] if settings.layers == "all" else [])
        raise OutOfMemoryError(
            f"editor: {model.editor.name} ran out of memory on {model.editor.device} in training; lower, in this order: "
            f"{'; '.join(lower)}."
        ) from None
