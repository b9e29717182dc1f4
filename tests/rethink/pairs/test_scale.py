"""Thousands of pairs: what a run of days leaves is opened, filtered and looked through in seconds, and is not held in
memory."""

import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from rethink.cli.main import main
from rethink.pairs.exporting import describe_store
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker, pair_id
from rethink.pairs.inverse.sources import Source
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.review.filters import Thresholds, filter_pairs
from rethink.pairs.store import EditPair, PairStore
from tests.support.pairs import draw_image

COUNT = 8_000
RECIPE = SynthesisConfig(pairs=2)
FLAT = "0" * 16  # the hash of a small change is much like that of any other; those of the targets begin alike


class Photos:
    """Names of photographs, made up as they are asked for."""

    def __len__(self):
        return COUNT // 2

    def __iter__(self):
        return (Source(f"some folder/photo {i}.jpg", "/nowhere") for i in range(len(self)))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two pairs of every photograph, scored, of eight pictures in all."""
    store = PairStore(tmp_path_factory.mktemp("scale"))
    rng, key = np.random.default_rng(0), operation_maker(store, RECIPE).key
    with store.writing():
        for i in range(8):
            store.write_image(f"images/00/{i}.png", draw_image(64, 64, i))
        jobs = [(source, number) for source in Photos() for number in (0, 1)]
        pairs = [
            EditPair(
                pair_id(key, source, number),
                f"images/00/{i % 8}.png",
                f"images/00/{(i + 1) % 8}.png",
                f"Do {i}.",
                operation="cover",
                source=source.name,
                number=number,
            )
            for i, (source, number) in enumerate(jobs)
        ]
        store.manifest.append(*(pair.to_json() for pair in pairs))
        same = {"same_size": True, "height": 512, "width": 512, "hash_edit": FLAT}
        scores = (
            {"id": pair.id, "changed": share, "hash_target": f"{int(share * 2**48):016x}", **same}
            for pair, share in zip(pairs, rng.random(COUNT))
        )
        store.scores.append(*scores)
    return store


@contextmanager
def within(seconds, bytes_a_pair):
    """Of this process's own time; a busy machine takes nothing of it."""
    tracemalloc.start()
    started = time.process_time()
    yield
    taken, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < seconds and peak < bytes_a_pair * COUNT, f"{taken:.1f} s, {peak / COUNT:.0f} bytes a pair"


def test_a_run_that_has_nothing_to_do_ends_at_once(store):
    with within(12, 500), store.writing():  # every line is checked
        done = synthesize(store, Photos(), operation_maker(store, RECIPE), RECIPE.pairs)
        assert (done.seen, done.made, done.skipped) == (COUNT // 2, 0, 0)
        describe_store(store)


def test_thresholds_are_moved_and_results_looked_at(store, capsys):
    with within(20, 3000), store.writing():
        accepted, rejected = filter_pairs(store, Thresholds(changed=0.5))
    assert accepted + rejected == COUNT and abs(accepted - COUNT / 2) < COUNT / 20
    with store.writing():
        assert filter_pairs(store, Thresholds(changed=0.5)) == (accepted, rejected)
    assert main(["inspect", str(store.folder), "--histogram", "changed"]) == 0
    assert f"{rejected} rejected, 0 not judged yet" in capsys.readouterr().out
    assert len(store.current_verdicts()) == len(list(store.verdicts)) == COUNT, "what was said is not said again"
    assert sum(1 for _ in store.accepted()) == accepted
