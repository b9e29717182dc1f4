"""The store: torn lines, two runs at once, verdicts, paths that lead out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.pairs.formats import export
from rethink.pairs.jsonl_log import DiskFull, JsonlLog, Last
from rethink.pairs.store import EditPair, PairStore, is_safe_relative_path
from tests.support.hosts import PACK_ROOT


def pair(number, **more):
    return EditPair(f"{number:016x}", f"images/00/{number}-input.png", "images/00/t.png", "Do it.", **more)


def test_pairs_come_back_as_they_were(tmp_path):
    given = pair(1, parameters={"stops": 1.5, "kind": "dark"}, source="søt\nfil\udcff.png", description="Ünïcode ✓")
    with PairStore(tmp_path / "s").writing() as store:
        store.add(given)
        store.add(given)
        assert given.id in store
    assert list(PairStore(tmp_path / "s")) == [given]


@pytest.mark.parametrize("torn", ['{"id": "x"', "", '{"id": "0000000000000009", "input": "a"'])
def test_a_torn_line_is_cut_off_and_its_pair_can_be_made_again(tmp_path, torn):
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
    with open(store.manifest.path, "a") as manifest:
        manifest.write(torn)
    assert [p.id for p in store] == [pair(1).id], "a reader must not see the torn line"
    with PairStore(tmp_path).writing() as store:
        store.add(pair(2))
    assert [p.id for p in PairStore(tmp_path)] == [pair(1).id, pair(2).id]


def test_repair_finds_the_last_newline_of_a_long_torn_line(tmp_path):
    ledger = JsonlLog(tmp_path / "l.jsonl")
    ledger.append({"a": 1})
    with open(ledger.path, "a") as file:
        file.write('{"long": "' + "x" * 200_000)
    ledger.repair()
    assert list(ledger) == [{"a": 1}]


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    ledger = JsonlLog(tmp_path / "l.jsonl")
    ledger.append({"a": 1})
    real = os.write
    monkeypatch.setattr("os.write", lambda file, data: real(file, data[: len(data) // 2]))
    with pytest.raises(DiskFull, match="no room"):
        ledger.append({"b": 2})
    assert ledger.path.read_text() == '{"a": 1}\n'


def test_one_run_at_a_time_in_one_process_and_in_two(tmp_path):
    other = (
        "import sys; from rethink.pairs.store import PairStore\nwith PairStore(sys.argv[1]).writing(): print('got it')"
    )
    command = [sys.executable, "-c", other, str(tmp_path)]
    with PairStore(tmp_path).writing():
        with pytest.raises(RethinkError, match="another run"), PairStore(tmp_path).writing():
            pass
        blocked = subprocess.run(command, cwd=PACK_ROOT, capture_output=True, text=True)
        assert "another run" in blocked.stderr and "got it" not in blocked.stdout
    assert "got it" in subprocess.run(command, cwd=PACK_ROOT, capture_output=True, text=True).stdout


def test_a_persons_verdict_stands_over_a_filters(tmp_path):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2, 3):
            store.add(pair(number))
        ids = [p.id for p in store]
        store.verdicts.append({"id": ids[0], "accepted": False, "why": ["ugly"], "by": "person"})
        store.verdicts.append({"id": ids[0], "accepted": True, "why": [], "by": "filter"})
        store.verdicts.append({"id": ids[1], "accepted": False, "why": ["small"], "by": "filter"})
        store.verdicts.append({"id": ids[1], "accepted": True, "why": [], "by": "filter"})
    assert [p.id for p in store.accepted()] == ids[1:]


def test_paths_that_lead_out_are_refused(tmp_path):
    for path in ("../x.png", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", "\\\\server\\x"):
        assert not is_safe_relative_path(path)
        record = {**pair(1).to_json(), "input": path}
        (tmp_path / "manifest.jsonl").write_text(json.dumps(record) + "\n")
        with pytest.raises(RethinkError, match="leads out"):
            list(PairStore(tmp_path))
    assert is_safe_relative_path("images/ab/x..y.png")


def test_mistakes_are_one_sentence(tmp_path):
    with pytest.raises(RethinkError, match="manifest"):
        PairStore.existing(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RethinkError, match="cannot write"), PairStore(tmp_path / "file").writing():
        pass
    (tmp_path / "manifest.jsonl").write_text('{"schema": 99}\n')
    with pytest.raises(RethinkError, match="newer"):
        list(PairStore(tmp_path))
    with pytest.raises(RethinkError, match="newer"), PairStore(tmp_path).writing():
        pass
    for text, said in (
        ("{nonsense}\n", "line 1"),
        ("[1]\n", "line 1"),
        ('{"a": 1}\n', "no pair"),
        ('{"schema": "x"}\n', "no pair"),
    ):
        (tmp_path / "manifest.jsonl").write_text(text)
        with pytest.raises(RethinkError, match=said):
            list(PairStore(tmp_path))


def test_a_picture_that_is_a_link_out_of_the_store_is_not_opened(tmp_path):
    with PairStore(tmp_path / "s").writing() as store:
        (tmp_path / "another disk/00").mkdir(parents=True)
        (tmp_path / "s/images").symlink_to(tmp_path / "another disk")  # which is a good place for them
        store.write_image("images/00/a.png", np.zeros((4, 4, 3), np.uint8))
        assert store.read_image("images/00/a.png").shape == (4, 4, 3)
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "another disk/00/b.png").symlink_to(tmp_path / "secret")
        store.add(EditPair("1" * 16, "images/00/a.png", "images/00/b.png", "x"))
        with pytest.raises(RethinkError, match="leads out"):
            store.read_image("images/00/b.png")
        with pytest.raises(RethinkError, match="leads out"):
            export(store, "imagefolder", tmp_path / "out")


def test_a_verdict_that_is_taken_back_leaves_the_filters(tmp_path):
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
        store.verdicts.append({"id": pair(1).id, "accepted": False, "why": ["small"], "by": "filter"})
    store.judge(pair(1).id, True)
    assert [p.id for p in store.accepted()] == [pair(1).id]
    store.judge(pair(1).id, None)
    assert list(store.accepted()) == [] and store.current_verdicts()[pair(1).id]["by"] == "filter"


def test_a_narrowed_store_shows_its_pairs_alone_and_is_written_as_a_whole(tmp_path):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2):
            store.add(pair(number))
    few = PairStore(tmp_path, [pair(2).id])
    assert [p.id for p in few] == [p.id for p in few.accepted()] == [pair(2).id]
    with few.writing():
        few.add(pair(1))
    assert len(list(PairStore(tmp_path))) == 2, "what is there is not added again"


def test_a_store_takes_over_the_accepted_pairs_of_another_once(tmp_path):
    with PairStore(tmp_path / "a").writing() as store:
        for number in (1, 2):
            store.add(pair(number))
            store.scores.append({"id": pair(number).id, "changed": 0.5})
            for path in (pair(number).input, pair(number).target):
                (store.folder / path).parent.mkdir(parents=True, exist_ok=True)
                (store.folder / path).write_bytes(b"picture")
    store.judge(pair(1).id, False)
    store.judge(pair(2).id, True)
    with PairStore(tmp_path / "b").writing() as other:
        assert other.merge_from(store) == 1 and other.merge_from(store) == 0
    assert (
        [p.id for p in other]
        == [record["id"] for record in other.scores]
        == [*other.current_verdicts()]
        == [pair(2).id]
    )
    assert (other.folder / pair(2).input).read_bytes() == b"picture"
    store.judge(pair(2).id, False)
    with other.writing():
        assert other.merge_from(store) == 0 and not list(other.accepted()), "what was rejected since is rejected there"
    with PairStore(tmp_path / "c").writing() as third, pytest.raises(RethinkError, match="cannot read"):
        store.judge(pair(2).id, True)
        (store.folder / pair(2).target).unlink()
        third.merge_from(store)


def test_a_picture_that_a_killed_runs_worker_still_finishes_is_no_trouble(tmp_path, monkeypatch):
    store, unlink = PairStore(tmp_path), Path.unlink
    passing = tmp_path / "images" / "ab" / f".{pair(1).id}-input.png.1.part"
    passing.parent.mkdir(parents=True)
    passing.touch()

    def late(path, missing_ok=False):
        path.rename(path.with_name("x.png"))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    with store.writing():
        assert (passing.parent / "x.png").exists()


# Damaged lines, and files of other things


BAD = [
    "{nonsense}",
    "[1]",
    '{"a": 1}',
    '{"a":' * 3000 + "1" + "}" * 3000,
    json.dumps({**pair(9).to_json(), "seed": 1}).replace('"seed": 1', '"seed": 1e400'),
    json.dumps({**pair(9).to_json(), "instruction": "\ud83d"}),
    json.dumps({**pair(9).to_json(), "instruction": 7}),
    json.dumps({**pair(9).to_json(), "input": "../x.png"}),
    json.dumps({**pair(9).to_json(), "target": 'a"><img src=x>.png'}),
    json.dumps({**pair(9).to_json(), "id": "<b>"}),
    json.dumps({**pair(9).to_json(), "parameters": float("nan")}),
    "\x00" * 40,
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_one_damaged_line_is_left_out_and_named_and_all_others_are_used(tmp_path, bad, caplog):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2, 3):
            store.add(pair(number))
    lines = store.manifest.path.read_text().splitlines()
    store.manifest.path.write_text("\n".join([lines[0], bad, *lines[1:], ""]))
    store = PairStore(tmp_path)
    for _ in range(2):
        assert [p.id for p in store] == [p.id for p in store.accepted()] == [pair(number).id for number in (1, 2, 3)]
    assert "line 2 is damaged" in caplog.text and "delete" not in caplog.text and len(caplog.records) == 1, (
        "it is said once"
    )
    (damage,) = store.manifest.damage()
    assert "line 2 is damaged" in damage
    with store.writing():
        store.add(pair(4))
    last = Last(store.manifest)
    assert [record["id"] for record in last.of(last)] == [pair(number).id for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("left", ["", "\0\0\0", "\r"])
def test_a_line_without_end_that_is_whole_is_kept(tmp_path, left):
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
    store.manifest.path.write_text(store.manifest.path.read_text()[:-1] + left)
    with PairStore(tmp_path).writing() as store:
        store.add(pair(2))
    assert [p.id for p in store] == [pair(1).id, pair(2).id]


def test_a_line_of_many_megabytes_does_not_hide_those_behind_it(tmp_path):
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
    with open(store.manifest.path, "a") as manifest:
        manifest.write("x" * 2**25 + "\n" + json.dumps(pair(2).to_json()) + "\n")
    assert [p.id for p in PairStore(tmp_path)] == [pair(1).id, pair(2).id]


def test_a_damaged_verdict_is_an_error_that_names_its_line_alone(tmp_path):
    """Left out, it would bring back what a person has rejected."""
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
    store.judge(pair(1).id, False)
    store.verdicts.path.write_text("{torn\n" + store.verdicts.path.read_text())
    with pytest.raises(RethinkError, match="line 1 is damaged .*; delete this one line, all others are kept"):
        list(store.accepted())


@pytest.mark.parametrize("bad", ['{"id": 7}', '{"id": "x", "changed": "much"}', '{"id": "x", "changed": NaN}', "{}"])
def test_damaged_scores_are_left_out(tmp_path, bad):
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
        store.scores.append({"id": pair(1).id, "changed": 0.5})
    with open(store.scores.path, "a") as scores:
        scores.write(bad + "\n")
    assert [record["changed"] for record in store.scores] == [0.5]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scores.jsonl", '{"id": "mine"}\n'),
        ("manifest.jsonl", '{"file": "mine"}\n'),
        ("manifest.jsonl", '{"file": "mine"}'),
        ("skipped.jsonl", "my notes"),
        ("verdicts.jsonl", '{"id": "x"}\n{"id'),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_a_users_file_of_a_name_of_ours_is_never_written_to(tmp_path, name, text, begun):
    if begun:
        (tmp_path / ".lock").touch()
    (tmp_path / name).write_text(text)
    refused = False
    try:
        with PairStore(tmp_path).writing() as store:
            store.add(pair(1))
    except RethinkError as error:
        refused = name in str(error)
    assert refused or (begun and name == "scores.jsonl")  # which might be ours
    assert (tmp_path / name).read_text() == text


def test_a_users_file_in_the_images_folder_is_never_taken_away(tmp_path):
    (tmp_path / "images/ab").mkdir(parents=True)
    (tmp_path / "images/ab/.my film.part").write_text("mine")
    with PairStore(tmp_path).writing():
        assert (tmp_path / "images/ab/.my film.part").exists()


def test_a_pipe_in_a_store_is_not_waited_for(tmp_path):
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
    (tmp_path / "images/00").mkdir(parents=True)
    os.mkfifo(tmp_path / pair(1).input)
    with pytest.raises(RethinkError, match="is no file"):
        store.read_image(pair(1).input)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["scores.jsonl", "verdicts.jsonl"])
def test_a_pipe_is_no_ledger_and_nobody_waits_for_it(tmp_path, name):
    with PairStore(tmp_path).writing() as store:
        store.add(pair(1))
    os.mkfifo(tmp_path / name)
    with pytest.raises(RethinkError, match=f"{name} is no file"), PairStore(tmp_path).writing():
        pass
