"""Shards as people have them: torn, with holes, with members that are no files."""

import io
import os
import resource
import subprocess
import sys
import tarfile
import zlib

import pytest

from rethink.errors import RethinkError
from rethink.pairs.exporting import export
from rethink.pairs.importing import import_dataset
from rethink.pairs.store import PairStore
from tests.support.datasets import DEEP, GOOD, import_pairs, read_pairs, sparse_member, write_file
from tests.support.hosts import PACK_ROOT
from tests.support.lora_training import write_pairs


def tarred(path, entries):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


SAMPLE = {"input.png": GOOD[0], "target.png": GOOD[1], "txt": b"make it red"}


def test_a_tar_with_a_hole_costs_nothing(tmp_path):
    """1.5 kB that say they are an image of 4 GB: in a process that may have one."""
    good = tarred(tmp_path / "d/x.tar", {f"a.{key}": data for key, data in SAMPLE.items()}).read_bytes()
    write_file(
        tmp_path / "d/x.tar",
        sparse_member("b.input.png", 4 * 2**30)
        + sparse_member("b.target.png", 4 * 2**30)
        + sparse_member("b.txt", 2**30)
        + good,
    )
    program = (
        "import sys; from rethink.pairs.importing import import_dataset; from rethink.pairs.store import PairStore\n"
        "with PairStore(sys.argv[2]).writing() as store:\n"
        "    found = import_dataset(store, 'webdataset', sys.argv[1])\n"
        "    print(found.new, found.skipped)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "d"), str(tmp_path / "s")],
        cwd=PACK_ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31)),
        check=False,
    )
    assert run.stdout == "1 1\n", run.stderr


def test_odd_members_of_a_tar_are_skipped_alone(tmp_path):
    parts = {f"{key}.{part}": data for key in "abcdfe" for part, data in SAMPLE.items()}
    parts |= {
        "b.txt": b"x" * 3_000_000,
        "c.txt": b"se\xf1or",
        "d.input.png": b"torn",
        "e.json": DEEP.encode(),
        "._a.input.png": b"x",
    }
    del parts["f.target.png"]
    said, why = import_pairs("webdataset", tarred(tmp_path / "d/x.tar", parts).parent, tmp_path)
    assert said == ["make it red"] and len(why) == 4  # a and e are the same pair
    assert "Windows-1252" in why["x.tar/c"] and "larger than 1 MB" in why["x.tar/b"]


@pytest.mark.parametrize("end", [700, 1100, 2000])
def test_a_torn_tar_gives_what_is_whole_and_the_next_is_read(tmp_path, end):
    for name in "ab":
        tarred(
            tmp_path / f"d/{name}.tar",
            {f"{name}.{key}": data for key, data in {**SAMPLE, "txt": name.encode()}.items()},
        )
    write_file(tmp_path / "d/a.tar", (tmp_path / "d/a.tar").read_bytes()[:end])
    write_file(tmp_path / "d/c.tar", zlib.compress(b"x" * 1000))
    os.mkfifo(tmp_path / "d/d.tar")
    said, why = import_pairs("webdataset", tmp_path / "d", tmp_path)
    assert said == ["b"] and {"c.tar", "d.tar"} <= set(why) and any(name.startswith("a.tar") for name in why)


def test_webdataset_reads_the_shards(store, exported):
    webdataset = pytest.importorskip("webdataset")
    shards = sorted(str(path) for path in exported["webdataset"].glob("*.tar"))
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("txt", "input.png", "target.png")
    assert {(text, before.tobytes(), after.tobytes()) for text, before, after in read} == read_pairs(store)


def test_links_in_a_tar_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("0.input.png", "0.target.png"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(entry)
    with PairStore(tmp_path / "s").writing() as store, pytest.raises(RethinkError, match="no pair"):
        import_dataset(store, "webdataset", tmp_path)


def test_references_are_beside_their_input(tmp_path):
    export(write_pairs(tmp_path / "s", 2, references=(2, 0)), "webdataset", tmp_path / "out")
    with tarfile.open(tmp_path / "out/pairs-000000.tar") as archive:
        names = [name.partition(".")[2] for name in archive.getnames()]
    assert names[:5] == ["input.png", "reference2.png", "reference3.png", "target.png", "txt"]
    assert not any("reference" in name for name in names[6:])
