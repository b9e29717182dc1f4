"""A training as pages hear of it: whole in every message, from its record when it is over."""

from pathlib import Path

import pytest
import server

from tests.support.think_nodes import events


@pytest.fixture
def monitor(part):
    return part("nodes.training_monitor")


@pytest.fixture
def run(part, results):
    """A run in ComfyUI's output folder with a record of two steps."""
    lora_run = part("rethink.training.lora_run")
    folder = Path(results.output) / "rethink" / "training" / "mine-01"
    folder.mkdir(parents=True)
    settings = {"batch": 2, "accumulate": 1}
    record = lora_run.LoraRecord(
        "mine", settings, "e", "f", 8, ("a", "b"), "0", seconds=4.0, step=2, steps=4, losses=(0.5, 0.3)
    )
    lora_run.LoraRun(folder).write_record(record)
    return lora_run.LoraRun(folder)


@pytest.fixture
def progress_of(part, run):
    """progress_of(losses): that of a training with these losses."""
    make = part("rethink.training.lora_progress").TrainProgress
    record = run.read_record()
    return lambda losses, **more: make(
        len(losses), 4, "step …", record=record, losses=losses, folder=run.folder, **more
    )


def test_pages_hear_of_every_stage(part, monitor, run, progress_of, monkeypatch):
    monkeypatch.setattr(monitor, "EVENT_SECONDS", 0)
    with monitor.LiveTraining("6") as live:
        live.on_progress(part("rethink.progress").JobProgress(1, 9, "1 of 9 pairs encoded"))
        live.on_progress(progress_of([0.5]))
        live.on_progress(progress_of([0.5, 0.3], phase="trying it"))
        assert [each["line"] for each in monitor.running("client")] == ["trying it"]
        assert monitor.running("another") == []
    first, second, third, last = events("training")
    assert first["view"] is None and first["run"] is None and first["line"] == "1 of 9 pairs encoded"
    assert second["line"] == "" and second["view"]["curves"]["raw"] == [[1, 0.5]]
    assert second["run"] == {"filename": "training.json", "subfolder": "rethink/training/mine-01", "type": "output"}
    assert third["line"] == "trying it" and third["view"]["samples_per_second"] == 1
    assert last["live"] is False and last["view"]["step"] == 2
    assert {each["node"] for each in events("training")} == {"6"} and monitor.running("client") == []


def test_a_message_now_and_then_is_enough(monitor, progress_of):
    with monitor.LiveTraining("6") as live:
        for _ in range(20):
            live.on_progress(progress_of([0.5]))
    assert len(events("training")) == 2  # the first, and the end


def test_cancel_is_heard_at_every_step(monitor, progress_of, monkeypatch):
    from comfy import model_management

    model_management.interrupt_current_processing(True)
    with pytest.raises(model_management.InterruptProcessingException), monitor.LiveTraining("6") as live:
        live.on_progress(progress_of([0.5]))
    assert events("training")[-1]["live"] is False


def test_one_that_has_ended_is_read_from_its_record(monitor, run, RethinkError):
    named = {"type": "output", "subfolder": "rethink/training/mine-01"}
    assert monitor.view(**named, filename="training.json")["title"] == "mine"
    for wrong in ({"filename": "state.safetensors"}, {"filename": "../training.json"}, {"filename": ""}):
        with pytest.raises(RethinkError):
            monitor.view(**named, **wrong)
    (run.folder / "training.json").write_text("torn", encoding="utf-8")
    with pytest.raises(RethinkError, match="is no longer in"):
        monitor.view(**named, filename="training.json")


def test_pages_may_ask(monitor, pack):
    monitor.serve()
    assert {("GET", "/rethink/trainings"), ("GET", "/rethink/training")} <= set(server.served)
