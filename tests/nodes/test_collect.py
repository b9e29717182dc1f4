"""The nodes that learn from runs make the same job as the commands."""

import pytest

from tests.support.pairs import read_store
from tests.support.thinking import said, thinker
from tests.support.trajectories import draw_images, write_trajectory


@pytest.fixture
def recorded(results, models):
    """Three runs in the output folder."""
    return [
        write_trajectory(
            results.output / "rethink" / f"thinking_{number:05d}_",
            (4, 9),
            images=draw_images(number, 2),
            instruction=f"make {number} red",
        )
        for number in range(3)
    ]


def call(node, **inputs):
    return node.execute(**{name: value if isinstance(value, list) else [value] for name, value in inputs.items()})


def test_the_folder_of_the_runs_is_offered(recorded, classes, results):
    for node in ("RethinkTrajectoriesToDataset", "RethinkTrajectoriesToPairs"):
        options = classes[node].describe()["input"]["required"]["folder"][1]["options"]
        assert list(options) == ["output", "input", "output/rethink"]


def test_a_data_set_is_that_of_the_command(recorded, classes, part, results, tmp_path):
    node = classes["RethinkTrajectoriesToDataset"]
    folder, report = call(node, folder="output/rethink", name="mine", format="trl", sft_share=1.0, balance=2.0).result
    job, rules = part("rethink.collect.dataset_job"), part("rethink.collect.rules")
    other = job.CollectJob((results.output / "rethink",), tmp_path / "data", rules.CollectRules(sft_share=1.0))
    other.run()
    assert report.startswith("3 of 3 runs kept")
    by_node, by_job = (part("nodes.comfy.folders").dataset_path("mine", "name"), tmp_path / "data")
    assert str(by_node) == folder
    assert (by_node / "trl-sft.jsonl").read_bytes() == (by_job / "trl-sft.jsonl").read_bytes()


def test_pairs_are_those_of_the_command(recorded, classes, part, results, tmp_path):
    node = classes["RethinkTrajectoriesToPairs"]
    done = call(node, folder="output", name="pairs", score=8.0, preferences=True)
    pairs, report = done.result
    other = part("rethink.collect.pairs_job")
    rules = other.RunPairRules(score=8.0)
    other.RunPairsJob((results.output,), tmp_path / "pairs", rules).run()
    assert len(list(pairs)) == 3 and "3 preferences" in report and done.ui["rethink_text"] == [report]
    assert (pairs.folder.parent / "pairs-preferences" / "metadata.jsonl").is_file()
    assert read_store(pairs.folder)["manifest.jsonl"] == read_store(tmp_path / "pairs")["manifest.jsonl"]


def test_connected_runs_go_first_and_a_judge_is_asked(recorded, classes):
    judge = thinker(said(9, 9))
    node = classes["RethinkTrajectoriesToPairs"]
    inputs = {"folder": "output", "name": "few", "trajectories": recorded[:2], "judge": judge}
    pairs, _ = call(node, **inputs).result
    assert len(list(pairs)) == 2 and len(judge.chat.asked) == 2


def test_runs_stand_side_by_side(recorded, classes):
    done = classes["RethinkCompareRuns"].execute(recorded, recorded[:2])
    sheet, report = done.result
    assert sheet.ndim == 4 and report.startswith("2 tasks, before → after\nturns: 2.00 → 2.00")
    assert done.ui["rethink_text"] == [report]


def test_a_judge_says_how_they_went_and_is_asked_nothing_twice(recorded, classes):
    judge = thinker(said(9, 9), said(3, 3))  # of turn 1 and of what won; of the runs after, that too is known
    for _ in range(2):
        _, report = classes["RethinkCompareRuns"].execute(recorded[:1], recorded[:1], [judge]).result
        assert "harm: 100% → 100%" in report and "judged by says" in report and len(judge.chat.asked) == 2


def test_the_node_runs_again_when_a_run_comes(recorded, classes, results):
    node = classes["RethinkTrajectoriesToDataset"]
    before = node.fingerprint_inputs(folder=["output"])
    assert node.fingerprint_inputs(folder=["output"]) == before
    write_trajectory(results.output / "rethink" / "thinking_00009_", (4, 9))
    assert node.fingerprint_inputs(folder=["output"]) != before
    assert node.fingerprint_inputs(folder=["gone"]) is None, "its runs may be connected"


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"folder": "output/../.."}, "folder: there is no"),
        ({"folder": "output", "name": "../x"}, "name: "),
        ({"folder": ["output", "input"]}, "folder: takes one value"),
    ],
)
def test_a_wrong_input_is_one_sentence(recorded, classes, RethinkError, inputs, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        call(classes["RethinkTrajectoriesToPairs"], **{"name": "x", **inputs})
