"""The stages over a local Ray cluster: the same pairs as here, also when a worker is killed in the middle."""

import os
import signal
import sys
from functools import partial

import pytest

from rethink.cli.main import main
from rethink.errors import RethinkError
from rethink.pairs.inverse.drafts import SynthesisConfig, failed_drafts, operation_maker
from rethink.pairs.inverse.instructions import InstructionWriter
from rethink.pairs.inverse.job import SynthesisJob, _not_described, _open_maker, _open_writer
from rethink.pairs.inverse.sources import ImageFolder
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.models import ModelSource
from rethink.pairs.ray_cluster import WorkerResources, cluster, ray_executor
from rethink.pairs.review.filters import score
from rethink.pairs.review.job import FilterJob, _open_scorer
from rethink.pairs.store import PairStore
from tests.support.pairs import read_store

ray = pytest.importorskip("ray", reason="the extra `distributed` is not installed")


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import the tests
    with cluster(cpus=2):
        yield


def deadly(open, victim, once):
    """A stage whose worker is killed over `victim`: only `once`, a file that says that it happened; or always."""

    def opened():
        do = open()

        def work(job):
            if victim in str(job) and not (once and os.path.exists(once)):
                if once:
                    os.close(os.open(once, os.O_CREAT))
                os.kill(os.getpid(), signal.SIGKILL)
            return do(job)

        return work

    return opened


def run(store_folder, photos, config, victim="nobody", once=""):
    with PairStore(store_folder).writing() as store:
        make = operation_maker(store, config)
        job = SynthesisJob(ImageFolder(photos), store.folder, config)
        open = deadly(partial(_open_maker, job, store.folder), victim, once)
        executor = ray_executor(open, partial(failed_drafts, make.key), WorkerResources(jobs=2))
        return store, synthesize(store, ImageFolder(photos), make, config.pairs, executor=executor)


def test_a_worker_killed_in_the_middle_changes_nothing(folder, tmp_path):
    config = SynthesisConfig(pairs=2)
    with PairStore(tmp_path / "here").writing() as store:
        synthesize(store, ImageFolder(folder), operation_maker(store, config), config.pairs)
    _, done = run(tmp_path / "there", folder, config, "photo 3", str(tmp_path / "once"))
    assert (tmp_path / "once").exists() and done.made == 12 and done.skipped == 0
    assert read_store(tmp_path / "there") == read_store(tmp_path / "here")


def test_a_picture_that_kills_whoever_touches_it_takes_no_other_with_it(folder, tmp_path):
    store, done = run(tmp_path, folder, SynthesisConfig(pairs=2), "photo 3")
    assert done.made == 10 and {record["source"] for record in store.skipped} == {"photo 3.png"}
    assert {record["why"] for record in store.skipped} == {"the process that worked on it died"}


def says(answer, *args, **options):
    return answer


def test_describing_and_measuring_are_stages_too(folder, tmp_path):
    config, answer = SynthesisConfig(("cover",), pairs=1), '{"place": "the wall", "description": "It is green."}'
    chat = partial(says, answer)
    with PairStore(tmp_path / "here").writing() as store:
        synthesize(store, ImageFolder(folder), operation_maker(store, config), 1, InstructionWriter(chat))
        score(store)
    with PairStore(tmp_path / "there").writing() as store:
        job = SynthesisJob(ImageFolder(folder), store.folder, config, thinker=ModelSource("says", partial(says, chat)))
        describe = ray_executor(
            partial(_open_writer, job, store.folder),
            _not_described,
            WorkerResources(jobs=2),
        )
        assert synthesize(store, ImageFolder(folder), operation_maker(store, config), 1, describe=describe).made == 6
        measure = ray_executor(partial(_open_scorer, FilterJob(store), store.folder), None, WorkerResources(jobs=1))
        assert score(store, executor=measure) == 6
    assert read_store(tmp_path / "there") == read_store(tmp_path / "here")


def test_a_users_mistake_in_a_worker_ends_the_run_with_its_sentence():
    def open():
        raise RethinkError("clip: no such folder.")

    with pytest.raises(RethinkError, match="no such folder"):
        list(ray_executor(open, None)(iter([1, 2, 3])))


def test_more_than_the_cluster_has_is_refused():
    with pytest.raises(RethinkError, match="GPU"):
        list(ray_executor(lambda: str, None, WorkerResources(gpus=64))(iter([1])))


def test_the_command_hands_its_stages_to_the_cluster(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **options: None)  # this one is up already
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    flags = ["--engine", "ray", "--share", "damage=1:0:2", "--pairs", "1"]
    assert main(["synthesize", str(folder), str(tmp_path / "s"), *flags]) == 0
    assert "6 pairs made" in capsys.readouterr().out


@pytest.mark.parametrize("share", [{"cpus": -1}, {"cpus": 0}, {"jobs": 0}])
def test_a_wrong_share_is_refused(share):
    with pytest.raises(RethinkError, match="share"):
        WorkerResources(**share)
