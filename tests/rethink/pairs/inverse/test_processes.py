"""Several processes make what one makes, and one that dies takes nothing with it."""

import itertools
import os
import subprocess
import sys
import time

import pytest

from rethink.pairs.inverse import processes
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.processes import process_executor
from rethink.pairs.inverse.sources import ImageFolder
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.pixels import read_pixels
from rethink.pairs.store import PairStore
from tests.support.hosts import PACK_ROOT
from tests.support.pairs import read_store
from tests.support.synthesis import run_synthesis


def test_processes_and_more_pairs_later_make_the_same(folder, tmp_path):
    few, many = SynthesisConfig(pairs=1, seed=5), SynthesisConfig(pairs=3, seed=5)
    run_synthesis(tmp_path / "here", ImageFolder(folder), many)
    run_synthesis(tmp_path / "executor", ImageFolder(folder), few, processes=2)
    _, done = run_synthesis(tmp_path / "executor", ImageFolder(folder), many, processes=2)
    assert done.made == 12
    assert read_store(tmp_path / "here") == read_store(tmp_path / "executor")
    other, _ = run_synthesis(tmp_path / "other", ImageFolder(folder), SynthesisConfig(pairs=3, seed=6))
    assert {pair.id for pair in other}.isdisjoint(pair.id for pair in PairStore(tmp_path / "here"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks of this process")
@pytest.mark.parametrize("processes", [0, 3])
def test_many_pairs_of_one_picture_come_one_by_one(folder, tmp_path, processes):
    for photo in list(folder.iterdir())[1:]:
        photo.unlink()
    (folder / "torn.png").write_bytes(b"torn")
    config, seen = SynthesisConfig(("cover", "greyscale"), pairs=50), []
    with PairStore(tmp_path / "s").writing() as store:
        executor = process_executor(processes, store, config) if processes else None
        done = synthesize(
            store, ImageFolder(folder), operation_maker(store, config), 50, executor=executor, on_progress=seen.append
        )
    assert (done.seen, done.made, done.skipped, done.done) == (2, 50, 1, 100) and len(list(store.skipped)) == 1
    assert len(seen) == 100 and all(a.done <= b.done and a.made <= b.made for a, b in itertools.pairwise(seen))
    assert len({pair.number for pair in store}) == 50


def test_a_killed_command_takes_its_processes_along_and_goes_on(folder, tmp_path):
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "rethink", "synthesize", folder, killed, "--pairs", "8", "--workers", "2"]
    process = subprocess.Popen(list(map(str, command)), cwd=PACK_ROOT, stderr=subprocess.DEVNULL)
    manifest = killed / "manifest.jsonl"
    while process.poll() is None and not (manifest.exists() and manifest.stat().st_size):  # it is there before its line
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert _whole_pairs(killed) > 0
    run_synthesis(killed, ImageFolder(folder), SynthesisConfig(pairs=8))
    run_synthesis(tmp_path / "whole", ImageFolder(folder), SynthesisConfig(pairs=8))
    gone_on = read_store(killed)
    assert gone_on.pop("seeds.jsonl"), "which the command alone notes"
    assert gone_on == read_store(tmp_path / "whole")


def _whole_pairs(folder):
    """How many pairs a store has; the pictures of the latest, which a kill could have torn, are whole."""
    pairs = list(PairStore(folder))
    for pair in pairs[-20:]:
        assert read_pixels(folder / pair.input).shape == read_pixels(folder / pair.target).shape
    return len(pairs)


def test_a_worker_that_dies_takes_no_other_picture_with_it(folder, tmp_path, monkeypatch):
    killer = tmp_path / "killer.py"
    killer.write_text(
        "import os, signal, rethink.pairs.inverse.drafts as s\n"
        "opened = s.LoadedSource.__init__\n"
        "def die(self, store, source, side):\n"
        "    if source.name == 'photo 3.png': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    opened(self, store, source, side)\n"
        "s.LoadedSource.__init__ = die\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(PACK_ROOT)]))
    monkeypatch.setattr("rethink.pairs.inverse.processes.START", "import killer; " + processes.START)
    store, done = run_synthesis(tmp_path / "s", ImageFolder(folder), SynthesisConfig(pairs=2), processes=2)
    assert done.made == 10 and done.skipped == 2
    assert {record["why"] for record in store.skipped} == {"the process that worked on it died"}
