"""Who wants a training to end: it does, between two steps, with a checkpoint."""

from types import SimpleNamespace

import pytest

from rethink.training.step_progress import AlreadyDone, StepProgress


class Ended(BaseException):
    pass


class Trainer:
    """As far as `StepProgress.run` knows one. do: its training."""

    def __init__(self, folder, do, step=3, processes=1):
        self.args, self.state = SimpleNamespace(output_dir=folder), SimpleNamespace(global_step=step)
        self.accelerator, self.model, self.do = SimpleNamespace(num_processes=processes), "model", do
        self.saved, self.resumed = [], None

    def train(self, resume_from_checkpoint):
        self.resumed = resume_from_checkpoint
        self.do()

    def _save_checkpoint(self, model, trial):
        self.saved.append((model, trial))


def raise_ended(*_):
    raise Ended


def test_what_on_progress_raises_leaves_a_checkpoint(tmp_path):
    seen = []
    progress = StepProgress(lambda now: seen.append(now) if now.done < 3 else raise_ended())
    progress.poll()
    progress.tell(2, 9, "step 2")
    progress.poll()
    assert [(now.done, now.total, now.line) for now in seen][1:] == [(2, 9, "step 2")] * 2
    trainer = Trainer(tmp_path, lambda: progress.tell(3, 9, "step 3"))
    with pytest.raises(Ended):
        progress.run(trainer, tmp_path / "checkpoint-1")
    assert trainer.saved == [("model", None)] and trainer.resumed == str(tmp_path / "checkpoint-1")
    with pytest.raises(Ended):
        progress.poll()  # where the first one was raised in a thread that nobody waits for
    assert len(seen) == 3


def test_nothing_is_saved_twice_or_before_a_step_or_where_it_broke(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}", encoding="utf-8")
    for options in ({}, {"step": 0}, {"step": 4, "processes": 2}):
        progress = StepProgress(raise_ended)
        trainer = Trainer(tmp_path, progress.poll, **options)
        with pytest.raises(Ended):
            progress.run(trainer, None)
        assert trainer.saved == [] and trainer.resumed is None
    trainer = Trainer(tmp_path, raise_ended, step=4)  # maybe in the midst of the weights
    with pytest.raises(Ended):
        StepProgress().run(trainer, None)
    assert trainer.saved == []


def test_what_is_raised_at_a_stop_point_is_kept_too(tmp_path):
    progress = StepProgress()

    def give_up():
        with progress.stop_point():
            raise ValueError("the editor is gone")

    trainer = Trainer(tmp_path, give_up)
    with pytest.raises(ValueError, match="gone"):
        progress.run(trainer, None)
    assert trainer.saved


def test_a_training_that_has_all_its_steps_only_loads_them(tmp_path):
    def begin():
        raise AlreadyDone

    trainer = Trainer(tmp_path, begin)
    StepProgress().run(trainer, tmp_path / "checkpoint-3")
    assert trainer.resumed == str(tmp_path / "checkpoint-3") and trainer.saved == []
