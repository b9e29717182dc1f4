"""Logs of JSON lines, torn, damaged, or somebody else's."""

import errno
import json
import os

import pytest

from rethink.errors import RethinkError
from rethink.pairs.jsonl_log import DiskFull, JsonlLog, LatestIndex, disk_full_as_error
from rethink.pairs.store import PairStore
from tests.support.pairs import make_pair


@pytest.mark.parametrize("torn", ['{"id": "x"', "", '{"id": "0000000000000009", "input": "a"'])
def test_a_torn_line_is_cut_off_and_its_pair_can_be_made_again(tmp_path, torn):
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(1))
    with open(store.manifest.path, "a") as manifest:
        manifest.write(torn)
    assert [p.id for p in store] == [make_pair(1).id], "a reader must not see the torn line"
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(2))
    assert [p.id for p in PairStore(tmp_path)] == [make_pair(1).id, make_pair(2).id]


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
    with pytest.raises(DiskFull, match="^no space left in "):
        ledger.append({"b": 2})
    assert ledger.path.read_text() == '{"a": 1}\n'


def test_a_read_only_disk_is_not_called_full(tmp_path):
    read_only = pytest.raises(DiskFull, match="is on a read-only disk; choose another folder")
    with read_only, disk_full_as_error(tmp_path):
        raise OSError(errno.EROFS, "Read-only file system")


BAD = [
    "{nonsense}",
    "[1]",
    '{"a": 1}',
    '{"a":' * 3000 + "1" + "}" * 3000,
    json.dumps({**make_pair(9).to_json(), "seed": 1}).replace('"seed": 1', '"seed": 1e400'),
    json.dumps({**make_pair(9).to_json(), "instruction": "\ud83d"}),
    json.dumps({**make_pair(9).to_json(), "instruction": 7}),
    json.dumps({**make_pair(9).to_json(), "input": "../x.png"}),
    json.dumps({**make_pair(9).to_json(), "target": 'a"><img src=x>.png'}),
    json.dumps({**make_pair(9).to_json(), "id": "<b>"}),
    json.dumps({**make_pair(9).to_json(), "parameters": float("nan")}),
    "\x00" * 40,
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_one_damaged_line_is_left_out_and_named_and_all_others_are_used(tmp_path, bad, caplog):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2, 3):
            store.add(make_pair(number))
    lines = store.manifest.path.read_text().splitlines()
    store.manifest.path.write_text("\n".join([lines[0], bad, *lines[1:], ""]))
    store = PairStore(tmp_path)
    for _ in range(2):
        assert (
            [p.id for p in store] == [p.id for p in store.accepted()] == [make_pair(number).id for number in (1, 2, 3)]
        )
    assert "line 2 is damaged" in caplog.text and "delete" not in caplog.text and len(caplog.records) == 1, (
        "it is said once"
    )
    (damage,) = store.manifest.damage()
    assert "line 2 is damaged" in damage
    with store.writing():
        store.add(make_pair(4))
    last = LatestIndex(store.manifest)
    assert [record["id"] for record in last.records(last)] == [make_pair(number).id for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("left", ["", "\0\0\0", "\r"])
def test_a_line_without_end_that_is_whole_is_kept(tmp_path, left):
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(1))
    store.manifest.path.write_text(store.manifest.path.read_text()[:-1] + left)
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(2))
    assert [p.id for p in store] == [make_pair(1).id, make_pair(2).id]


def test_a_line_of_many_megabytes_does_not_hide_those_behind_it(tmp_path):
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(1))
    with open(store.manifest.path, "a") as manifest:
        manifest.write("x" * 2**25 + "\n" + json.dumps(make_pair(2).to_json()) + "\n")
    assert [p.id for p in PairStore(tmp_path)] == [make_pair(1).id, make_pair(2).id]


def test_a_damaged_verdict_is_an_error_that_names_its_line_alone(tmp_path):
    """Left out, it would bring back what a person has rejected."""
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(1))
    store.set_verdict(make_pair(1).id, False)
    store.verdicts.path.write_text("{torn\n" + store.verdicts.path.read_text())
    with pytest.raises(RethinkError, match="line 1 is damaged .*; delete this one line and keep all others"):
        list(store.accepted())


@pytest.mark.parametrize("bad", ['{"id": 7}', '{"id": "x", "changed": "much"}', '{"id": "x", "changed": NaN}', "{}"])
def test_damaged_scores_are_left_out(tmp_path, bad):
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(1))
        store.scores.append({"id": make_pair(1).id, "changed": 0.5})
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
            store.add(make_pair(1))
    except RethinkError as error:
        refused = name in str(error)
    assert refused or (begun and name == "scores.jsonl")  # which might be ours
    assert (tmp_path / name).read_text() == text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["scores.jsonl", "verdicts.jsonl"])
def test_a_pipe_is_no_ledger_and_nobody_waits_for_it(tmp_path, name):
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(1))
    os.mkfifo(tmp_path / name)
    with pytest.raises(RethinkError, match=f"{name} is not a file"), PairStore(tmp_path).writing():
        pass
