"""The job of training a LoRA on pairs, as a node and a command start it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import check_target
from ..errors import OutOfMemoryError, is_out_of_memory
from ..options import MAX_SEED, check_limits, option, options_of
from ..pairs.store import PairStore
from ..progress import OnProgress, ignore_progress
from .edit_lora import KEEP, LoraTraining, TrainReport
from .edit_model import EditModel, trainable_parts
from .lora_pairs import read_pairs
from .lora_run import check_own_file
from .trainable_lora import target_layers

if TYPE_CHECKING:
    from ..editors.protocol import Editor


@dataclass(frozen=True)
class TrainEditLoraJob:
    """Train a LoRA on pairs, over an editor that stays as it is.

    pairs: what to learn; those that are accepted. output: the file, which ComfyUI and diffusers load. folder: where runs are
    kept: each in a folder of its own by its settings, so that the same job goes on and another one starts anew.
    keep_instructions: other edits that the editor must not forget, for `keep`; (): common ones.
    """

    pairs: PairStore
    output: Path
    folder: Path
    keep_instructions: tuple[str, ...] = ()
    steps: int = option(
        0,
        "How many optimizer steps. 0: as many as the number of pairs calls for. A finished run goes on where it ended when "
        "there are more.",
        low=0,
        high=1_000_000,
    )
    rank: int = option(16, "How much the LoRA can hold. 4 to 16 for one edit, 32 and more for many.", low=1, high=1024)
    learning_rate: float = option(
        1e-4, "How far every step goes. Lower it if the loss jumps.", low=1e-7, high=0.1, step=1e-5, advanced=True
    )
    batch: int = option(1, "Pairs a step at once. Lower it if memory runs out.", low=1, high=1024, advanced=True)
    accumulate: int = option(
        4,
        "Batches a step, one after another: as good as a larger batch, in less memory.",
        low=1,
        high=256,
        advanced=True,
    )
    keep: str = option(
        "default",
        "How firmly all other edits are kept as they were: every so many steps the LoRA is held to what the editor says "
        "without it. high costs half of the speed; off costs nothing.",
        choices=tuple(KEEP),
        advanced=True,
    )
    replay: int = option(
        32,
        "On how many images other edits are kept; each is edited once by the editor first.",
        low=1,
        high=10_000,
        advanced=True,
    )
    hold_out: float = option(
        0.1,
        "The share of the pairs that is not trained on but says which of the saved LoRAs is the best.",
        low=0.0,
        high=0.5,
        step=0.05,
        advanced=True,
    )
    save_every: int = option(
        0, "Steps between saves; every saved LoRA is kept. 0: ten saves in all.", low=0, high=1_000_000, advanced=True
    )
    previews: int = option(
        2, "Held-out pairs that are edited at every save, to look at.", low=0, high=16, advanced=True
    )
    seed: int = option(0, "The same seed, pairs and settings give the same LoRA.", low=0, high=MAX_SEED, advanced=True)

    def __post_init__(self):
        check_limits(self)

    def run(self, editor: Editor, on_progress: OnProgress = ignore_progress) -> TrainReport:
        """Train, or go on with a run that was cut off. What `on_progress` raises ends it; the newest and the best LoRA are
        kept then.

        Raises RethinkError for what is wrong with the pairs, the editor or the settings, before any work; and when the loss
        explodes, with the last good LoRA kept.
        """
        model = EditModel(editor)
        check_target(self.output, "output")
        check_own_file(self.output)
        pairs = read_pairs(self.pairs)
        layers = target_layers(model.denoiser, editor.family.lora_targets, self.rank)
        with trainable_parts(model.editor.module), _oom_guard(self, editor):
            training = LoraTraining(self, model, pairs, layers, on_progress)
            return training.run()

    def as_settings(self) -> dict[str, Any]:
        """What of the job decides which weights a step leads to."""
        free = ("steps", "save_every", "previews")
        chosen = {each.name: getattr(self, each.name) for each in options_of(type(self)) if each.name not in free}
        return {**chosen, "keep_instructions": list(self.keep_instructions)}

    def count_steps(self, pairs: int) -> int:
        """How many steps it trains with so many pairs."""
        return self.steps or min(3000, max(500, 30 * pairs))


@contextmanager
def _oom_guard(job: TrainEditLoraJob, editor: Editor) -> Iterator[None]:
    """Within it, that memory runs out is an OutOfMemoryError that says what to lower, what saves most first."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        lower = [f"batch (it is {job.batch})"] if job.batch > 1 else []
        lower += ["load the editor quantized, or with offload model", f"rank (it is {job.rank})"]
        raise OutOfMemoryError(
            f"editor: {editor.name} ran out of memory on {editor.device} in training; lower, in this order: "
            f"{'; '.join(lower)}."
        ) from None
