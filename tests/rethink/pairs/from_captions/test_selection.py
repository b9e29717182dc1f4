"""Many candidates, few kept: the same with and without batches, early dropping and kills; and what dropping costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rethink.errors import OutOfMemoryError, RethinkError
from rethink.pairs.from_captions.caption_edits import CaptionEdit
from rethink.pairs.from_captions.prompt_to_prompt import P2PConfig
from rethink.pairs.from_captions.selection import (
    CandidateSampler,
    EarlyStop,
    Selection,
    SelectionStats,
    draw_pairs,
)
from rethink.pairs.from_captions.text_to_image import load_text_to_image
from rethink.pairs.store import PairStore
from tests.support.miniatures import PLAIN, make_pipeline, write_folder, write_tokenizer

TRIPLES = [CaptionEdit("the red make", "make it blue", "the blue make"), CaptionEdit("a cat", "make it a dog", "a dog")]
RECIPE = P2PConfig(steps=4, sampler="ddim")
HALF = (EarlyStop(2, 0, 0, 0),)  # sketched in half of the steps
EVERYTHING = {"image": -1, "caption": -1, "direction": -1}


class Eye:
    """A stand-in for CLIP whose scores depend on the pictures' brightness alone, in a way that spreads them out."""

    def images(self, pictures):
        angles = torch.tensor([100 * float(p.mean()) for p in pictures])
        return torch.stack([angles.cos(), angles.sin()], 1)

    def texts(self, captions):
        return torch.tensor([[1.0, 0.0], [0.0, 1.0]])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return make_pipeline(PLAIN, write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def draw(folder, pipeline, selection, triples=TRIPLES, config=RECIPE, **options):
    with PairStore(folder).writing() as store:
        stats = draw_pairs(store, triples, CandidateSampler(store, pipeline, Eye(), config, selection, 3), **options)
    return store, stats


def test_the_best_of_all_that_pass_are_kept_whatever_the_batch(pipeline, tmp_path):
    one, _ = draw(tmp_path / "one", pipeline, Selection(6, 1, best=3, looks=(), **EVERYTHING))
    pairs = list(one)
    assert len(pairs) == 6 and [pair.number for pair in pairs] == [0, 1, 2] * 2
    for group in (pairs[:3], pairs[3:]):
        directions = [pair.parameters["clip_sim_dir"] for pair in group]
        assert directions == sorted(directions, reverse=True)
    first = pairs[0]
    assert first.instruction == "make it blue" and (first.input_caption, first.target_caption) == (
        "the red make",
        "the blue make",
    )
    assert 0 <= first.seed < 2**32 and 0.1 <= first.parameters["p2p_threshold"] <= 0.9
    many, _ = draw(tmp_path / "many", pipeline, Selection(6, 4, best=3, looks=(), **EVERYTHING))
    assert [pair.seed for pair in many] == [pair.seed for pair in pairs]
    for a, b in zip(pairs, many):
        apart = np.abs(one.read_image(a.target).astype(int) - many.read_image(b.target))
        assert apart.max() <= 1  # a batch of another size rounds otherwise


def test_thresholds_reject_and_the_tally_adds_up(pipeline, tmp_path):
    strict = Selection(8, 4, image=0.3, caption=-1, direction=-1, best=8, looks=())
    store, stats = draw(tmp_path, pipeline, strict, TRIPLES[:1])
    assert all(pair.parameters["clip_sim_image"] >= 0.3 for pair in store)
    assert stats.drawn == 8 and stats.captions == 1 and 0 < stats.kept == stats.passed == len(list(store)) < 8
    assert stats.dropped == stats.estimated_loss == 0


def test_early_dropping_keeps_a_part_of_the_same_pairs_and_says_how_often_it_errs(pipeline, tmp_path):
    rule = {"image": 0.3, "caption": -1, "direction": -1, "best": 12}
    whole, all_of_them = draw(tmp_path / "whole", pipeline, Selection(12, 6, looks=(), **rule), TRIPLES[:1])
    blind, dropped = draw(tmp_path / "early", pipeline, Selection(12, 6, looks=HALF, audited=0, **rule), TRIPLES[:1])
    seen, audited = draw(tmp_path / "audited", pipeline, Selection(12, 6, looks=HALF, audited=1, **rule), TRIPLES[:1])
    seeds = {pair.seed for pair in whole}
    assert {pair.seed for pair in blind} < seeds and {pair.seed for pair in seen} == seeds
    assert dropped.dropped == audited.dropped == audited.audited > 0 and dropped.audited == 0
    assert audited.false_rejects == all_of_them.passed - dropped.passed  # exactly those that were lost
    assert audited.estimated_loss == pytest.approx(audited.false_rejects / (audited.false_rejects + audited.passed))


def test_a_killed_run_goes_on_and_makes_the_same(pipeline, tmp_path):
    selection = Selection(4, 2, best=2, **EVERYTHING)

    def stop(step, total):
        raise KeyboardInterrupt

    whole, _ = draw(tmp_path / "whole", pipeline, selection)
    with PairStore(tmp_path / "cut").writing() as store:
        drawer = CandidateSampler(store, pipeline, Eye(), RECIPE, selection, 3)
        draw_pairs(store, TRIPLES[:1], drawer)
        with pytest.raises(KeyboardInterrupt):
            drawer(TRIPLES[1], stop)
    ledger = store.drawn.path.read_text()
    store.drawn.path.write_text(ledger[:-5])  # torn: killed between the pairs and their last line
    _, stats = draw(tmp_path / "cut", pipeline, selection)
    assert [pair.id for pair in store] == [pair.id for pair in whole] and stats.captions == 2
    assert draw(tmp_path / "cut", pipeline, selection)[1].captions == 0


def test_captions_that_come_twice_are_drawn_for_once(pipeline, tmp_path):
    store, stats = draw(tmp_path, pipeline, Selection(2, looks=(), **EVERYTHING), [TRIPLES[0], TRIPLES[0]])
    assert (stats.captions, stats.drawn, stats.kept) == (1, 2, 2) == (1, *[len(list(store))] * 2)


def test_bad_captions_are_skipped_and_a_full_device_ends_the_run(pipeline, tmp_path, monkeypatch):
    same = CaptionEdit("a cat", "keep it", "a cat")
    store, stats = draw(tmp_path / "s", pipeline, Selection(2, 2, **EVERYTHING), [same, TRIPLES[0]])
    assert stats.skipped == 1 and stats.captions == 2 and "equals the caption" in next(iter(store.skipped))["why"]

    def full(*args, **kwargs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr("rethink.pairs.from_captions.selection.generate", full)
    with pytest.raises(OutOfMemoryError, match="batch"):
        draw(tmp_path / "t", pipeline, Selection(2, 2, looks=()))


def test_the_interrupt_of_the_host_is_no_reason_to_skip(pipeline, tmp_path):
    class Cancelled(Exception):
        pass

    def cancel(step, total):
        raise Cancelled

    with PairStore(tmp_path).writing() as store, pytest.raises(Cancelled):
        CandidateSampler(store, pipeline, Eye(), RECIPE, Selection(2, 2))(TRIPLES[0], cancel)


def test_seeds_are_32_bits_all_different_and_more_begin_with_the_same(pipeline, tmp_path):
    few, many = (
        CandidateSampler(PairStore(tmp_path), pipeline, Eye(), RECIPE, Selection(n)).seeds(TRIPLES[0])
        for n in (10, 500)
    )
    assert many[:10] == few and len(set(many)) == 500 and all(0 <= seed < 2**32 for seed in many)
    assert max(many) > 2**31


def test_a_tally_estimates_what_was_lost():
    assert SelectionStats(dropped=100, audited=10, false_rejects=1, passed=90).estimated_loss == pytest.approx(0.1)
    assert SelectionStats(dropped=100, passed=3).estimated_loss == 0.0


@pytest.mark.parametrize(
    ("options", "said"),
    [({"candidates": 0}, "candidates"), ({"audited": 2}, "audited"), ({"image": 3}, "image")],
)
def test_a_wrong_selection_is_refused(options, said):
    with pytest.raises(RethinkError, match=said):
        Selection(**options)


def test_a_look_needs_a_step():
    with pytest.raises(RethinkError, match="looks"):
        EarlyStop(0, 0, 0, 0)


def test_sketches_that_are_half_the_work_are_not_made(pipeline, tmp_path):
    hopeless = Selection(4, 2, image=1, looks=(EarlyStop(3, 0, 0, 0),))
    assert draw(tmp_path / "three", pipeline, hopeless)[1].dropped == 0
    assert draw(tmp_path / "two", pipeline, replace(hopeless, looks=HALF))[1].dropped > 0


def test_every_score_has_its_slack():
    rule, scores = (
        Selection(image=0.5, caption=0.5, direction=0.5),
        dict.fromkeys(("clip_sim_image", "clip_sim_0", "clip_sim_1", "clip_sim_dir"), 1.0),
    )
    for name, slack in (
        ("clip_sim_image", (0.2, 0, 0)),
        ("clip_sim_0", (0, 0.2, 0)),
        ("clip_sim_1", (0, 0.2, 0)),
        ("clip_sim_dir", (0, 0, 0.2)),
    ):
        assert not rule.misses({**scores, name: 0.31}, EarlyStop(10, *slack)) and rule.misses(
            {**scores, name: 0.29}, EarlyStop(10, *slack)
        )
        assert rule.misses({**scores, name: 0.49})


def test_running_out_of_memory_ends_the_run_and_says_what_helps(pipeline, tmp_path, monkeypatch):
    def run_out(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")  # a CPU's

    monkeypatch.setattr("rethink.pairs.from_captions.selection.generate", run_out)
    with pytest.raises(OutOfMemoryError, match="^p2p: out of memory with 2 candidates at once; lower batch"):
        draw(tmp_path, pipeline, Selection(4, 2, looks=(), **EVERYTHING))


def test_progress_only_grows_and_ends_full(pipeline, tmp_path):
    seen = []
    with PairStore(tmp_path).writing() as store:
        CandidateSampler(store, pipeline, Eye(), RECIPE, Selection(5, 2, looks=HALF, **EVERYTHING))(
            TRIPLES[0], lambda done, total: seen.append(done / total)
        )
    assert seen == sorted(seen) and seen[-1] == 1


@pytest.mark.parametrize(("able", "precision"), [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)])
def test_half_precision_where_the_processor_has_it(tmp_path, monkeypatch, able, precision):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: able, raising=False)
    pipeline = load_text_to_image(write_folder(tmp_path / "sd", PLAIN))
    assert (pipeline.unet.dtype, pipeline.vae.dtype) == (precision, torch.float32)
    store, stats = draw(tmp_path / "store", pipeline, Selection(3, 2, looks=HALF, audited=1, **EVERYTHING))
    assert stats.kept == len(list(store)) == 6
