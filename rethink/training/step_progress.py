"""The progress of a training by trl, and ending it on request with a checkpoint to resume from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..progress import JobProgress, OnProgress, ignore_progress


class AlreadyDone(Exception):
    """Raised by a callback at the start of a training whose checkpoint already has all of its steps."""


class StepProgress:
    """Reports steps to a job's `on_progress`; an exception from that ends the training with a checkpoint.

    error: the exception that ended it.
    """

    def __init__(self, on_progress: OnProgress = ignore_progress):
        self._on_progress = on_progress
        self._last = JobProgress(0, 1, "the first step")
        self.error: BaseException | None = None

    def tell(self, done: int, total: int, line: str) -> None:
        """Report steps done out of the total."""
        self._last = JobProgress(done, total, line)
        self.poll()

    def poll(self, *_: Any) -> None:
        """Report the same again. Called often during a step, so that it can end in the middle; from any thread."""
        if self.error is not None:  # raised in a thread that nobody waits for anymore
            raise self.error
        with self.stop_point():
            self._on_progress(self._last)

    @contextmanager
    def stop_point(self) -> Iterator[None]:
        """Within this context, any exception ends the training as one from `on_progress` does."""
        try:
            yield
        except BaseException as error:
            self.error = error
            raise

    def run(self, trainer: Any, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint if there is one; if that raises AlreadyDone, it is only loaded. A training that is
        ended early saves another checkpoint."""
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except AlreadyDone:
            return
        except BaseException as error:
            if error is self.error and trainer.accelerator.num_processes == 1:  # several would have to stop together
                _save_checkpoint(trainer)
            raise


def _save_checkpoint(trainer: Any) -> None:
    """Save a checkpoint of the steps done so far, unless there is one."""
    step = trainer.state.global_step
    if step and not (Path(trainer.args.output_dir) / f"checkpoint-{step}" / "trainer_state.json").is_file():
        trainer._save_checkpoint(trainer.model, trial=None)  # as `train` does; there is no public method
