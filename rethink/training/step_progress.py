"""How far a training by trl is, and its end on request: what was learned until then is kept, to go on from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..progress import JobProgress, OnProgress, ignore_progress


class AlreadyDone(Exception):
    """Raised by a callback where a training begins whose checkpoint has all of its steps: nothing is left to train."""


class StepProgress:
    """Tells a job's `on_progress` how far the steps are; what that raises ends the training, with a checkpoint.

    error: what has ended it between two steps, where the weights are whole.
    """

    def __init__(self, on_progress: OnProgress = ignore_progress):
        self._on_progress = on_progress
        self._last = JobProgress(0, 1, "the first step")
        self.error: BaseException | None = None

    def tell(self, done: int, total: int, line: str) -> None:
        """Steps that are done, of all."""
        self._last = JobProgress(done, total, line)
        self.poll()

    def poll(self, *_: Any) -> None:
        """Nothing new; called often while a step goes on, so that it can end in the midst of it. May be called from any thread."""
        if self.error is not None:  # raised in a thread that nobody waits for any more
            raise self.error
        with self.stop_point():
            self._on_progress(self._last)

    @contextmanager
    def stop_point(self) -> Iterator[None]:
        """Whatever is raised within it ends the training as `on_progress` does."""
        try:
            yield
        except BaseException as error:
            self.error = error
            raise

    def run(self, trainer: Any, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint on if there is one, or only load that where it is AlreadyDone. Ended between two
        steps, it leaves another."""
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except AlreadyDone:
            return
        except BaseException as error:
            if error is self.error and trainer.accelerator.num_processes == 1:  # several would have to end together
                _save_checkpoint(trainer)
            raise


def _save_checkpoint(trainer: Any) -> None:
    """One of the steps that are done, unless there is."""
    step = trainer.state.global_step
    if step and not (Path(trainer.args.output_dir) / f"checkpoint-{step}" / "trainer_state.json").is_file():
        trainer._save_checkpoint(trainer.model, trial=None)  # as `train` does it; there is no public name for it
