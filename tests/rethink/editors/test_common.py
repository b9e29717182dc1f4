"""What all editors share around their sampling, on an editor of a few lines."""

from types import SimpleNamespace

import pytest
import torch

from rethink.editors.common import EditBatch, Remedies, SourceCache, run_edit, settings_by_row
from rethink.editors.protocol import Prepared
from rethink.editors.settings import DEFAULT_SETTINGS, Settings
from rethink.errors import OutOfMemoryError, RethinkError
from rethink.images import plan_fit

SOURCE = torch.rand(2, 8, 8, 3, generator=torch.Generator().manual_seed(0))
EDITOR = SimpleNamespace(
    name="tiny",
    defaults=Settings(steps=7),
    family=SimpleNamespace(title="Tiny", takes_negative_prompt=False),
    device=torch.device("cpu"),
)


def run(
    sample, instructions=("a", "b", "c", "d"), seeds=(1, 2, 3, 4), settings=DEFAULT_SETTINGS, mask=None, releases=None
):
    batch = EditBatch(Prepared(SOURCE, None), list(instructions), list(seeds), settings, mask)
    release = (lambda: None) if releases is None else (lambda: releases.append(1))
    plan = plan_fit(8, 8, area=64, multiple=8)
    return run_edit(EDITOR, batch, plan, sample, Remedies("lower it", " in fp16; raise it"), release)


def black(batch):
    return torch.zeros(len(batch.seeds), 8, 8, 3)


def test_sampling_gets_a_checked_batch_and_the_mask_is_honored():
    seen = []
    mask = torch.zeros(1, 8, 8)
    mask[:, :4] = 1
    edited = run(lambda batch: seen.append(batch) or black(batch), mask=mask)
    (batch,) = seen
    assert batch.settings.steps == 7 and batch.mask.shape == (2, 8, 8)
    assert [batch.image_of(row) for row in range(4)] == [0, 0, 1, 1]
    assert torch.equal(edited[:, 4:], SOURCE.repeat_interleave(2, 0)[:, 4:]) and not edited[:, :4].any()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"instructions": []}, "instruction: is empty"),
        ({"seeds": [1]}, "instruction: 4 instruction.* 1 seed"),
        ({"instructions": "abc", "seeds": [1, 2, 3]}, "instruction: .*evenly among 2 images"),
        ({"settings": Settings(negative_prompt="rain")}, "negative: Tiny takes no negative prompt"),
        ({"mask": torch.zeros(1, 8, 8)}, "mask: is empty"),
    ],
)
def test_what_cannot_be_edited_is_refused_before_sampling(arguments, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        run(lambda batch: pytest.fail("it was sampled"), **arguments)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_every_way_of_running_out_of_memory_is_one_sentence(error):
    releases = []

    def fail(batch):
        raise error

    with pytest.raises(OutOfMemoryError, match=r"^editor: tiny ran out of memory on cpu; lower it\.$"):
        run(fail, releases=releases)
    assert releases == [1]


def test_other_errors_are_passed_on_and_nan_is_named():
    def fail(batch):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="^shape mismatch$"):
        run(fail)
    with pytest.raises(RethinkError, match=r"^editor: tiny produced NaN in fp16; raise it\.$"):
        run(lambda batch: black(batch) * float("nan"))


def test_a_source_is_known_by_its_tensors_until_they_are_written_to():
    cache, calls = SourceCache(), []
    image = torch.rand(1, 4, 4, 3)

    def compute():
        calls.append(1)
        return len(calls)

    assert [cache.get((image,), compute), cache.get((image,), compute)] == [1, 1]
    image.add_(1)
    assert cache.get((image,), compute) == 2
    assert cache.get((image.clone(),), compute) == 3


def test_the_scales_a_row_drew_are_no_longer_random():
    (row,) = settings_by_row(Settings(steps=3, randomize_guidance=True), [(2.0, 1.0)])
    assert row == Settings(steps=3, text_guidance=2.0, image_guidance=1.0)
