"""Processes that train together share the work; two of them do it for real in test_edit_lora_job.py and
test_thinker_grpo_job.py."""

import pytest
import torch

from rethink.training.process_group import ALONE, ProcessGroup, fail_together, join_processes


def test_every_item_is_for_one_process():
    shares = [ProcessGroup(rank, 3).share(8) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == list(range(8))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert list(ALONE.share(3)) == [0, 1, 2]


def test_alone_there_is_nothing_to_wait_for_or_to_add_up(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes("cpu") is ALONE and ALONE.is_main
    tensor = torch.ones(2)
    ALONE.add_up([tensor])
    ALONE.wait()
    assert tensor.tolist() == [1, 1]


def test_alone_what_fails_is_what_is_raised():
    for error in (ValueError("it is gone"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, fail_together():
            raise error
        assert raised.value is error
    with fail_together():
        pass
