"""Runs that are kept, opened, listed and exported."""

import os
import shutil

import pytest
import torch

from tests.support.thinking import SOURCE, said


def test_a_run_is_kept_and_opened_again(think, make_thinker, classes, results, part, RethinkError):
    done = think(make_thinker(said(2, 5, "b"), said(6, 6, "c")), turns=2)
    saved = classes["RethinkSaveTrajectory"].execute(done.trajectory, "keep/this")
    best = {"filename": "turn-0002-00.png", "subfolder": "keep/this_00001_", "type": "output"}
    assert saved.ui == {"images": [best], "rethink_run": ["output/keep/this_00001_"]}
    shutil.copytree(results.output / "keep" / "this_00001_", results.input / "brought")
    for run_name in ("output/keep/this_00001_", "input/brought", "output/rethink/thinking_00001_"):
        assert run_name in classes["RethinkLoadTrajectory"].describe()["input"]["required"]["run"][1]["options"]
        _trajectory, best, images, source, instruction, prompt = (
            classes["RethinkLoadTrajectory"].execute(run_name).result
        )
        assert torch.equal(best, done.image) and torch.equal(images, done.images) and prompt == "b"
        assert instruction == "make it red" and torch.allclose(source, SOURCE, atol=0.01)
    for wrong in ("output/../../etc", "nowhere", ""):
        with pytest.raises(RethinkError, match="run: there is no"):
            classes["RethinkLoadTrajectory"].execute(wrong)
    page = results.output / "keep" / "this_00001_" / "this_00001 make it red.html"
    assert "data:image/png;base64," in page.read_text(encoding="utf-8")
    record = {"filename": "trajectory.json", "subfolder": "rethink/thinking_00001_", "type": "output"}
    exported = part("nodes.trajectory").export(record)
    assert exported["filename"] == "thinking_00001 make it red.html", "downloads of several runs lie beside each other"
    assert (results.output / exported["subfolder"] / exported["filename"]).is_file()
    with pytest.raises(RethinkError):
        part("nodes.trajectory").export({"filename": "passwd", "subfolder": "../../etc", "type": "output"})
    shutil.rmtree(results.output / "keep")
    with pytest.raises(RethinkError, match="leads out"):
        classes["RethinkSaveTrajectory"].execute(done.trajectory, "../keep")


def test_an_export_reaches_no_folder_but_those_of_runs(think, make_thinker, part, results, RethinkError, tmp_path):
    done = think(make_thinker(said(9, 9)))
    export = part("nodes.trajectory").export
    reference = {"filename": "trajectory.json", "subfolder": "rethink/thinking_00001_", "type": "output"}
    shutil.copytree(done.trajectory.folder, tmp_path / "above", dirs_exist_ok=True)
    for file in done.trajectory.folder.iterdir():
        shutil.copy(file, results.output.parent / file.name)  # a run one folder above
    for wrong in (
        {"subfolder": ""},
        {"filename": ".", "subfolder": ""},
        {"subfolder": ".."},
        {"subfolder": "../above"},
    ):
        with pytest.raises(RethinkError, match="^trajectory: "):
            export(reference | wrong)
    assert not list(results.output.parent.glob("*.html")) and not list((tmp_path / "above").glob("*.html"))
    (tmp_path / "secret").write_text("a key")
    (done.trajectory.folder / "source.png").unlink()
    (done.trajectory.folder / "source.png").symlink_to(tmp_path / "secret")
    with pytest.raises(RethinkError, match="source.png.*not a PNG file"):
        export(reference)


def test_the_runs_to_choose_from_are_told_apart_and_the_newest_comes_first(think, make_thinker, classes, results, part):
    first = think(make_thinker(said(2, 5, "b"), said(6, 6, "c")), turns=2).trajectory
    second = think(make_thinker("I like it."), instruction="make it blue", turns=1).trajectory
    os.utime(first.folder / "trajectory.json", (1000, 1000))
    torn = results.output / "torn"
    torn.mkdir()
    (torn / "trajectory.json").write_text("{")
    os.utime(torn / "trajectory.json", (500, 500))
    runs = part("nodes.trajectory").list_runs()
    names = [f"output/rethink/{run.folder.name}" for run in (second, first)] + ["output/torn"]
    assert [run["run"] for run in runs] == names
    options = classes["RethinkLoadTrajectory"].describe()["input"]["required"]["run"][1]
    assert options["options"] == names and options["default"] == names[0]
    assert [run.get("instruction") for run in runs] == ["make it blue", "make it red", None]
    assert runs[0]["score"] is None and runs[1]["score"] == first.steps[1].score and runs[1]["date"] == 1000
    assert runs[1]["picture"]["filename"] == "turn-0002-00.png" and runs[1]["turns"] == 2
    assert "cannot be read" in runs[2]["error"]
