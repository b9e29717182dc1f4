"""`rethink export`, `import` and `inspect`."""

import pytest

from rethink.cli.main import main
from rethink.pairs.store import EditPair, PairStore
from tests.support.lora_training import write_pairs
from tests.support.pairs import draw_image


@pytest.fixture
def store(tmp_path):
    """Three pairs, one of them rejected, with scores."""
    with PairStore(tmp_path / "pairs").writing() as store:
        for number in range(3):
            paths = [f"images/00/{number}-{role}.png" for role in ("input", "target")]
            for seed, path in enumerate(paths):
                store.write_image(path, draw_image(40, 48, 2 * number + seed))
            store.add(EditPair(f"{number:016x}", *paths, f"Do {number}.", operation="cover"))
            store.scores.append({"id": f"{number:016x}", "changed": number / 2})
        store.verdicts.append({"id": f"{2:016x}", "accepted": False, "why": ["ugly"], "by": "person"})
    return store.folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_what_was_accepted_goes_out_and_comes_in_again(store, tmp_path, capsys):
    assert run("export", store, "imagefolder", tmp_path / "out") == 0
    first, which = capsys.readouterr().out.splitlines()
    assert first == f"2 pairs → {tmp_path / 'out'}" and which.startswith("The target: ")
    assert run("import", tmp_path / "out", "imagefolder", tmp_path / "again") == 0
    assert f"2 pairs imported, 0 skipped → {tmp_path / 'again'}" in capsys.readouterr().out
    assert sorted(pair.instruction for pair in PairStore(tmp_path / "again")) == ["Do 0.", "Do 1."]


def test_an_export_is_replaced_only_where_that_is_said(store, tmp_path, capsys):
    export = ("export", store, "imagefolder", tmp_path / "out")
    assert run(*export) == 0 and run(*export) == 2 and "already exists" in capsys.readouterr().err
    assert run(*export, "--replace") == 0


def test_into_a_store_only_what_is_new_is_added(store, tmp_path, capsys):
    for count in (2, 0):
        assert run("export", store, "pair-store", tmp_path / "more") == 0
        assert capsys.readouterr().out == f"{count} new pairs → {tmp_path / 'more'}\n"


def test_why_entries_were_skipped_is_counted(store, tmp_path, capsys):
    run("export", store, "imagefolder", tmp_path / "out")
    min((tmp_path / "out").rglob("*.png")).write_bytes(b"torn")
    capsys.readouterr()
    assert run("import", tmp_path / "out", "imagefolder", tmp_path / "again") == 0
    out = capsys.readouterr().out
    assert "1 pair imported, 1 skipped" in out and "skipped because:" in out


def test_an_inspection_counts_reasons_scores_and_what_is_broken(store, capsys):
    assert run("inspect", store, "--histogram", "changed", "--check") == 0
    out = capsys.readouterr().out
    assert "3 pairs in" in out and "1 rejected, 2 not judged yet" in out and "█" in out
    assert "3  cover" in out and "1  ugly" in out and "cover: Do 0." in out
    (store / "images/00/0-input.png").write_bytes(b"torn")
    assert run("inspect", store, "--check") == 1
    assert capsys.readouterr().err == "broken: images/00/0-input.png\n"
    assert run("inspect", store, "--histogram", "beauty") == 2
    assert "--histogram: no pair has a score 'beauty'" in capsys.readouterr().err


def test_what_becomes_of_references_is_printed_and_broken_ones_are_named(tmp_path, capsys):
    store = write_pairs(tmp_path / "s", 3, references=(0, 2))
    assert run("export", tmp_path / "s", "instruct-pix2pix", tmp_path / "out") == 0
    assert "1 pair with references is left out" in capsys.readouterr().out
    lost = list(store)[1].references[1]
    (tmp_path / "s" / lost).write_bytes(b"torn")
    assert run("inspect", tmp_path / "s", "--check") == 1 and f"broken: {lost}" in capsys.readouterr().err


def test_how_many_references_pairs_have_is_printed_and_the_first_that_was_skipped(tmp_path, capsys):
    write_pairs(tmp_path / "s", 3, references=(0, 2, 1))
    run("export", tmp_path / "s", "before-after", tmp_path / "out")
    (tmp_path / "out/before-2/00000002.png").write_bytes(b"torn")
    capsys.readouterr()
    assert run("import", tmp_path / "out", "before-after", tmp_path / "again") == 0
    out = capsys.readouterr().out
    counted = "References: 1 pair has none, 1 pair has 2. Reject pairs whose instruction mentions an image that they do not have."
    assert counted in out.splitlines()
    assert f"The first is after/00000002.png; {tmp_path / 'again/skipped.jsonl'} lists all." in out
    assert run("inspect", tmp_path / "again") == 0 and counted in capsys.readouterr().out
