"""Where the stages of a job are worked on."""

import os
from contextlib import contextmanager

import pytest

from rethink.errors import RethinkError
from rethink.pairs import engine
from rethink.pairs.engine import LOCAL, STAGES, Engine
from rethink.pairs.ray_cluster import WorkerResources


def test_on_this_machine_no_stage_is_carried_elsewhere():
    assert LOCAL.is_local and LOCAL.processes == os.cpu_count() and Engine(workers=3).processes == 3
    with LOCAL.started() as executor_for:
        assert [executor_for(stage, None, None) for stage in STAGES] == [None] * len(STAGES)


def test_on_a_cluster_every_stage_gets_the_resources_that_are_named_for_it(monkeypatch):
    calls = []

    @contextmanager
    def cluster(address, processes):
        calls.append((address, processes))
        yield
        calls.append("closed")

    monkeypatch.setattr(engine, "cluster", cluster)
    monkeypatch.setattr(engine, "ray_executor", lambda open, lost, resources: (open, lost, resources))
    large = WorkerResources(2, 1.0)
    with Engine("ray", 4, "auto", {"draw": large}).started() as executor_for:
        assert executor_for("draw", "open", "lost") == ("open", "lost", large)
        assert executor_for("measure", "open", "lost") == ("open", "lost", WorkerResources())
    assert calls == [("auto", 4), "closed"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"engine": "slurm"}, "engine: "),
        ({"workers": -1}, "workers: "),
        ({"resources": {"damge": WorkerResources()}}, "share: there is no stage 'damge'; choose one of damage, "),
    ],
)
def test_mistakes_are_one_sentence(options, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        Engine(**options)
