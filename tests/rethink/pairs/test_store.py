"""The store: two runs at once, verdicts, paths that lead out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.pairs.exporting import describe_store, export
from rethink.pairs.store import EditPair, PairStore, is_safe_relative_path
from tests.support.hosts import PACK_ROOT
from tests.support.lora_training import write_pairs
from tests.support.pairs import make_pair


def test_pairs_come_back_as_they_were(tmp_path):
    given = make_pair(
        1, parameters={"stops": 1.5, "kind": "dark"}, source="søt\nfil\udcff.png", description="Ünïcode ✓"
    )
    with PairStore(tmp_path / "s").writing() as store:
        store.add(given)
        store.add(given)
        assert given.id in store
    assert list(PairStore(tmp_path / "s")) == [given]


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


def test_a_store_is_put_among_nothing_else_however_often_it_is_tried(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"a cat")
    for _ in range(2):
        with pytest.raises(RethinkError, match=r"^pairs: .* has no pairs but holds cat.png; choose a new folder"):
            PairStore(tmp_path).writing().__enter__()
        assert [file.name for file in tmp_path.iterdir()] == ["cat.png"]
    for before, name in (("cat.png", "scores.jsonl"), ("scores.jsonl", "runs.jsonl")):
        (tmp_path / before).rename(tmp_path / name)
        for _ in range(2):
            with pytest.raises(RethinkError, match=f"holds a {name} that does not belong to a store"):
                PairStore(tmp_path).writing().__enter__()


def test_a_store_that_has_no_pair_yet_is_opened_again(tmp_path):
    (tmp_path / "Thumbs.db").touch()  # of a file manager, which has looked at the empty folder
    with PairStore(tmp_path).writing() as store:
        store.skipped.append({"source": "a.png", "number": 0, "why": "too small"})
        store.write_image(store.image_path("ab", "input"), np.zeros((4, 4, 3), np.uint8))
    with PairStore(tmp_path).writing() as store:
        describe_store(store)
    with PairStore(tmp_path).writing() as store:
        assert len(list(store.skipped)) == 1


def test_a_persons_verdict_stands_over_a_filters(tmp_path):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2, 3):
            store.add(make_pair(number))
        ids = [p.id for p in store]
        store.verdicts.append({"id": ids[0], "accepted": False, "why": ["ugly"], "by": "person"})
        store.verdicts.append({"id": ids[0], "accepted": True, "why": [], "by": "filter"})
        store.verdicts.append({"id": ids[1], "accepted": False, "why": ["small"], "by": "filter"})
        store.verdicts.append({"id": ids[1], "accepted": True, "why": [], "by": "filter"})
    assert [p.id for p in store.accepted()] == ids[1:]


def test_paths_that_lead_out_are_refused(tmp_path):
    for path in ("../x.png", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", "\\\\server\\x"):
        assert not is_safe_relative_path(path)
        record = {**make_pair(1).to_json(), "input": path}
        (tmp_path / "manifest.jsonl").write_text(json.dumps(record) + "\n")
        with pytest.raises(RethinkError, match="leads out"):
            list(PairStore(tmp_path))
    assert is_safe_relative_path("images/ab/x..y.png")


def test_mistakes_are_one_sentence(tmp_path):
    with pytest.raises(RethinkError, match="manifest"):
        PairStore.open_existing(tmp_path)
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
        ('{"a": 1}\n', "not a pair"),
        ('{"schema": "x"}\n', "not a pair"),
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
        store.add(make_pair(1))
        store.verdicts.append({"id": make_pair(1).id, "accepted": False, "why": ["small"], "by": "filter"})
    store.set_verdict(make_pair(1).id, True)
    assert [p.id for p in store.accepted()] == [make_pair(1).id]
    store.set_verdict(make_pair(1).id, None)
    assert list(store.accepted()) == [] and store.current_verdicts()[make_pair(1).id]["by"] == "filter"


def test_a_narrowed_store_shows_its_pairs_alone_and_is_written_as_a_whole(tmp_path):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2):
            store.add(make_pair(number))
    few = PairStore(tmp_path, [make_pair(2).id])
    assert [p.id for p in few] == [p.id for p in few.accepted()] == [make_pair(2).id]
    with few.writing():
        few.add(make_pair(1))
    assert len(list(PairStore(tmp_path))) == 2, "what is there is not added again"


def test_a_store_takes_over_the_accepted_pairs_of_another_once(tmp_path):
    with PairStore(tmp_path / "a").writing() as store:
        for number in (1, 2):
            store.add(make_pair(number))
            store.scores.append({"id": make_pair(number).id, "changed": 0.5})
            for path in (make_pair(number).input, make_pair(number).target):
                (store.folder / path).parent.mkdir(parents=True, exist_ok=True)
                (store.folder / path).write_bytes(b"picture")
    store.set_verdict(make_pair(1).id, False)
    store.set_verdict(make_pair(2).id, True)
    with PairStore(tmp_path / "b").writing() as other:
        assert other.merge_from(store) == 1 and other.merge_from(store) == 0
    assert (
        [p.id for p in other]
        == [record["id"] for record in other.scores]
        == [*other.current_verdicts()]
        == [make_pair(2).id]
    )
    assert (other.folder / make_pair(2).input).read_bytes() == b"picture"
    store.set_verdict(make_pair(2).id, False)
    with other.writing():
        assert other.merge_from(store) == 0 and not list(other.accepted()), "what was rejected since is rejected there"
    with PairStore(tmp_path / "c").writing() as third, pytest.raises(RethinkError, match="cannot read"):
        store.set_verdict(make_pair(2).id, True)
        (store.folder / make_pair(2).target).unlink()
        third.merge_from(store)


def test_a_picture_that_a_killed_runs_worker_still_finishes_is_no_trouble(tmp_path, monkeypatch):
    store, unlink = PairStore(tmp_path), Path.unlink
    passing = tmp_path / "images" / "ab" / f".{make_pair(1).id}-input.png.1.part"
    passing.parent.mkdir(parents=True)
    passing.touch()

    def late(path, missing_ok=False):
        path.rename(path.with_name("x.png"))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    with store.writing():
        assert (passing.parent / "x.png").exists()


def test_a_users_file_in_the_images_folder_is_never_taken_away(tmp_path):
    (tmp_path / "images/ab").mkdir(parents=True)
    (tmp_path / "images/ab/.my film.part").write_text("mine")
    with PairStore(tmp_path).writing():
        assert (tmp_path / "images/ab/.my film.part").exists()


def test_a_pipe_in_a_store_is_not_waited_for(tmp_path):
    with PairStore(tmp_path).writing() as store:
        store.add(make_pair(1))
    (tmp_path / "images/00").mkdir(parents=True)
    os.mkfifo(tmp_path / make_pair(1).input)
    with pytest.raises(RethinkError, match="is not a file"):
        store.read_image(make_pair(1).input)


REFERENCES = ("images/00/hat.png", "images/00/coat.png")


def test_references_come_back_in_their_order_and_a_pair_without_has_the_line_that_it_had(tmp_path):
    plain, dressed = make_pair(1), make_pair(2, references=REFERENCES)
    with PairStore(tmp_path).writing() as store:
        store.add(plain)
        store.add(dressed)
    assert list(PairStore(tmp_path)) == [plain, dressed]
    first, second = (json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines())
    assert "references" not in first and second["references"] == list(REFERENCES) and second["schema"] == 1
    assert dressed.files == (dressed.input, *REFERENCES, dressed.target)


@pytest.mark.parametrize(
    "references", ["a.png", ["../x.png"], [""], [7], None, {"a": 1}, ["images/a.png", "/etc/passwd"]]
)
def test_references_that_are_no_paths_or_lead_out_are_no_pair(references):
    with pytest.raises(RethinkError):
        EditPair.from_json({**make_pair(1).to_json(), "references": references})


def test_references_go_along_into_another_store(tmp_path):
    source = write_pairs(tmp_path / "a", 2, references=(0, 2))
    with PairStore(tmp_path / "b").writing() as other:
        assert other.merge_from(source) == 2
    for pair, copy in zip(source, other, strict=True):
        assert copy == pair and len(pair.references) in (0, 2)
        assert all((other.read_image(path) == source.read_image(path)).all() for path in pair.references)
