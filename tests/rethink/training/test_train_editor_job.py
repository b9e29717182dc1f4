"""A whole editor's training, from a folder of pairs to an editor with its report."""

import json

import pytest

from rethink.editors.loading import load_editor
from rethink.errors import RethinkError
from rethink.training.editor_run import EditorWatch
from rethink.training.train_editor_job import TrainEditorJob
from rethink.training.train_loop import TrainConfig
from tests.support.lora_training import take_one_step_for_previews, write_pairs
from tests.support.miniatures import write_folder

PLAN = TrainConfig(steps=2, batch=2, workers=0, warmup=1, save_every=2)


def test_a_store_of_pairs_makes_an_editor_with_a_report(tmp_path, monkeypatch):
    take_one_step_for_previews(monkeypatch)
    write_pairs(tmp_path / "pairs", 8)
    model = write_folder(tmp_path / "sd", "StableDiffusionPipeline")
    for steps in (2, 3):  # the second time it goes on
        plan = TrainConfig(**{**vars(PLAN), "steps": steps})
        job = TrainEditorJob(model, tmp_path / "pairs", tmp_path / "my editor", 32, plan=plan)
        job.run(report=str)
    record = json.loads((tmp_path / "my editor" / "training" / "training.json").read_text())
    assert record["pairs"] == 8 and len(record["held_out"]) == 2 and len(record["losses"]) == 3
    assert [save["step"] for save in record["saves"]] == [2, 3] and record["settings"]["resolution"] == 32
    assert "held-out loss" in job.report.read_text(encoding="utf-8")
    assert load_editor(tmp_path / "my editor").family.id == "instruct_pix2pix"


def test_what_cannot_be_trained_on_is_said_before_any_work(tmp_path):
    with pytest.raises(RethinkError, match="metadata.jsonl"):
        TrainEditorJob(tmp_path, tmp_path, tmp_path / "out").run()
    write_pairs(tmp_path / "pairs", 3)
    with pytest.raises(RethinkError, match="model_index.json"):
        TrainEditorJob(tmp_path, tmp_path / "pairs", tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def test_no_other_model_is_replaced(tmp_path):
    write_pairs(tmp_path / "pairs", 3)
    model, other = (write_folder(tmp_path / name, "StableDiffusionPipeline") for name in ("sd", "other"))
    file = tmp_path / "file"
    file.touch()
    (model / "training.json").touch()  # as an editor that was trained here
    before = sorted(path for path in tmp_path.rglob("*"))
    for output, why in ((model, "the model to start from"), (other, "not trained by Rethink"), (file, "not a folder")):
        with pytest.raises(RethinkError, match=f"^output: .* {why}"):
            TrainEditorJob(model, tmp_path / "pairs", output, 32, plan=PLAN).run(report=str)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_a_rate_that_is_far_too_high_is_named_and_the_best_editor_is_kept(tmp_path, monkeypatch):
    take_one_step_for_previews(monkeypatch)
    write_pairs(tmp_path / "pairs", 8)
    model = write_folder(tmp_path / "sd", "StableDiffusionPipeline")
    editor = tmp_path / "editor"
    TrainEditorJob(model, tmp_path / "pairs", editor, 32, plan=PLAN).run(report=str)
    plan = TrainConfig(**{**vars(PLAN), "steps": 12, "learning_rate": 1.0})
    with pytest.raises(
        RethinkError, match=f"^learning_rate: the loss .* a tenth .*The best weights so far are kept: {editor}[.]"
    ):
        TrainEditorJob(model, tmp_path / "pairs", editor, 32, plan=plan).run(report=str)
    record = json.loads((editor / "training" / "training.json").read_text())
    assert record["best"] >= 2 and "learning_rate" in record["stopped"]
    assert load_editor(editor).family.id == "instruct_pix2pix"


def test_an_image_that_goes_in_the_midst_is_left_out_and_said(tmp_path, monkeypatch):
    take_one_step_for_previews(monkeypatch)
    store, lines = write_pairs(tmp_path / "pairs", 4), []
    model = write_folder(tmp_path / "sd", "StableDiffusionPipeline")
    gone = next(iter(store))
    check = EditorWatch.go_on

    def lose(watch, step):
        store.file(gone.target).unlink()
        check(watch, step)

    monkeypatch.setattr(EditorWatch, "go_on", lose)
    job = TrainEditorJob(model, tmp_path / "pairs", tmp_path / "editor", 32, plan=PLAN)
    job.run(report=lines.append)
    assert lines[-1] == f"Left out because their files are missing: {gone.id}."
    assert f"{gone.id}: their files are missing" in job.report.read_text(encoding="utf-8")
