"""The job of training a LoRA on pairs, started by a node or a command."""

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
    """Train a LoRA on pairs, for an editor that itself stays unchanged.

    pairs: the store whose accepted pairs to learn. output: the LoRA file, which ComfyUI and diffusers load. folder: where runs are
    kept, in a separate folder for each set of settings, so that the same job resumes and a different one starts from scratch.
    thinker: scores the previews of every save, and first checks some pairs for swapped inputs and targets. preview_editor: makes
    the previews instead of the editor being trained, for example a distilled version of it. making_room: a context within which
    that editor has the device; None: the model being trained waits in main memory meanwhile.
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
        """Train, or resume an interrupted run. An exception from `on_progress` ends the training; the newest and the best LoRA are
        then kept. processes: those that train together, each with its own editor.

        Raises RethinkError for invalid pairs, editor or settings before any work, and if the loss explodes; the last good LoRA is
        then kept.
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
        """editor: the one being trained, at its own size, as users will use it."""
        if self.preview_editor is None or self.preview_editor is editor:
            return PreviewEditor(editor)
        name = self.preview_editor.name
        if name == editor.name:  # as with ComfyUI's own models of a family
            name = f"{name} (preview_editor)"
        return PreviewEditor(self.preview_editor, name, self.making_room or model.waiting)


def adapt(settings: LoraSettings, model: EditModel) -> LoraSettings:
    """Fill in the settings with the defaults of the model's family, and set up the model to train accordingly."""
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
    """Turn running out of memory into an OutOfMemoryError that says what to lower, starting with what saves most."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        lower = [f"a lower batch (it is {settings.batch}; raise accumulate instead)"] if settings.batch > 1 else []
        lower += [model.memory_advice]
        lower += ["optimizer adamw 8-bit"] if settings.optimizer == "adamw" else []
        lower += [f"a lower rank (it is {settings.rank})"] + (["layers family"] if settings.layers == "all" else [])
        raise OutOfMemoryError(
            f"editor: {model.editor.name} ran out of memory on {model.editor.device} during training; try, in this order: "
            f"{'; '.join(lower)}."
        ) from None
