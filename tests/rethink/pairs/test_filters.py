"""Which pairs are kept, and why the others are not: measured once, decided again as often as one likes."""

import json

import numpy as np
import pytest
import torch

from rethink.builtin import CLIP_FOLDER
from rethink.errors import RethinkError
from rethink.evaluation.clip_similarity import Clip, similarities
from rethink.evaluation.pixel_metrics import difference_hash, measure, shift
from rethink.pairs.review.duplicates import NearDuplicates
from rethink.pairs.review.filters import Thresholds, count_reasons, decide, filter_pairs, histogram, score
from rethink.pairs.store import EditPair, PairStore
from rethink.tiny import render, sample_task
from tests.support.miniatures import TOKENS, write_clip
from tests.support.pairs import draw_image as drawn


@pytest.fixture
def store(tmp_path):
    with PairStore(tmp_path / "s").writing() as store:
        yield store


def add(store, name, before, after, region=None, **more):
    paths = {role: store.image_path(f"{name:>016}", role) for role in ("input", "target", "region")}
    store.write_image(paths["input"], before)
    store.write_image(paths["target"], after)
    if region is not None:
        store.write_image(paths["region"], region)
    pair = EditPair(
        f"{name:>016}", paths["input"], paths["target"], "Do it.", paths["region"] if region is not None else "", **more
    )
    store.add(pair)
    return pair


def verdicts(store, **thresholds):
    return {v["id"].lstrip("0"): v["why"] for v in decide(store, Thresholds(**thresholds))}


def edited(seed=0, box=(20, 60)):
    picture = drawn(seed=seed)
    damaged, region = picture.copy(), np.zeros(picture.shape[:2], bool)
    region[box[0] : box[1], box[0] : box[1]] = True
    damaged[region] = 255 - damaged[region]
    return damaged, picture, region


def test_every_rule_says_why(store):
    before, after, region = edited()
    add(store, "good", before, after, region)
    add(store, "same", after, after, region, source="b")
    leaking = before.copy()
    leaking[100:110, 100:110] = 0
    add(store, "leak", leaking, drawn(seed=3), region)
    add(store, "moved", np.roll(drawn(seed=4), 20, 1), drawn(seed=4))
    add(store, "small", drawn(30 + 8, 60, 5), drawn(30 + 8, 60, 6))
    add(store, "long", drawn(80, 400, 7), drawn(80, 400, 8))
    add(store, "sizes", drawn(80, 100, 9), drawn(100, 80, 9))
    add(store, "huge", 255 - drawn(seed=10), drawn(seed=10), np.ones((120, 160), bool))
    broken = add(store, "broken", before, after, region)
    (store.folder / broken.input).write_bytes(b"torn")
    assert score(store) == 9 and score(store) == 1 and len(list(store.scores)) == 9, (
        "what is broken is tried again, and said once"
    )
    why = verdicts(store, largest_region=0.9, border=False)
    assert why["good"] == []
    for name, said in (
        ("same", "too little changed"),
        ("leak", "should be equal"),
        ("moved", "moved against"),
        ("small", "too few"),
        ("long", "too long"),
        ("sizes", "differ in size"),
        ("huge", "too large"),
        ("broken", "cannot be read"),
    ):
        assert any(said in reason for reason in why[name]), (name, why[name])
    assert any("border" in reason for reason in why["huge"])
    assert verdicts(store, smallest_region=0.5)["good"] and not verdicts(store)["good"]
    store.write_image(broken.input, 255 - before)
    assert score(store) == 1 and score(store) == 0 and "cannot be read" not in str(verdicts(store)["broken"])


def test_verdicts_are_kept_and_say_nothing_twice(store):
    before, after, region = edited()
    add(store, "a", before, after, region)
    add(store, "b", drawn(seed=1), drawn(seed=1))
    score(store)
    assert filter_pairs(store, Thresholds()) == (1, 1)
    lines = store.verdicts.path.read_text()
    filter_pairs(store, Thresholds())
    assert store.verdicts.path.read_text() == lines
    assert [pair.id for pair in store.accepted()] == [f"{'a':>016}"]
    assert filter_pairs(store, Thresholds(changed=0, duplicates=-1)) == (2, 0), "a looser threshold takes it back"
    assert len(list(store.accepted())) == 2


def test_near_duplicates_and_several_edits_of_one_picture(store):
    before, after, region = edited()
    add(store, "first", before, after, region)
    noisy = (after.astype(int) + 1).clip(0, 255).astype(np.uint8)
    add(store, "copy", noisy[:, ::-1][:, ::-1], noisy, region)
    score(store)
    assert verdicts(store, outside=1, changed=0)["copy"] == [f"nearly the same as another pair ({'first':>016})"]
    assert verdicts(store, outside=1, changed=0, duplicates=-1)["copy"] == []


def test_another_edit_of_the_same_picture_is_no_duplicate(store):
    before, after, region = edited()
    other_before, _, other_region = edited(box=(70, 110))
    first = add(store, "first", before, after, region, operation="cover")
    second = EditPair(
        "5" * 16,
        store.image_path("5" * 16, "input"),
        first.target,
        "Other.",
        store.image_path("5" * 16, "region"),
        "cover",
    )
    store.write_image(second.input, other_before)
    store.write_image(second.region, other_region)
    store.add(second)
    score(store)
    assert all(not why for why in verdicts(store).values())


def test_hashes_that_differ_in_few_bits_are_found():
    near = NearDuplicates(3)
    near.add("00000000000000ff", "a")
    assert near.find("00000000000000f8") == "a" and near.find("00010002000400ff") == "a"
    assert near.find("00000000000000e0") is None and near.find("ffffffffffffffff") is None
    rng = np.random.default_rng(0)
    values = [int(v) for v in rng.integers(0, 2**63, 200)]
    for value in values:
        near.add(f"{value:016x}", value)
    for value in values:
        flipped = value ^ sum(1 << int(bit) for bit in rng.choice(63, 3, replace=False))
        assert near.find(f"{flipped:016x}") is not None


def test_a_shift_is_measured_and_a_drawing_has_none():
    picture = drawn(256, 256)
    assert shift(picture, picture) == 0
    assert abs(shift(np.roll(picture, 26, 0), picture) - 0.1) < 0.02
    assert shift(np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8), picture) == 0
    assert difference_hash(picture) == difference_hash(picture[..., 0]) or len(difference_hash(picture)) == 16
    assert measure(picture, picture, None)["changed"] == 0


# --- CLIP --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


def test_similarities_are_the_cosines_of_what_transformers_says(clip_folder):
    import transformers

    clip, model = Clip(clip_folder), transformers.CLIPModel.from_pretrained(clip_folder).eval()
    pictures, captions = [drawn(32, 32, seed) for seed in (0, 1)], ["the red make", "the blue make"]
    processor = transformers.CLIPImageProcessor.from_pretrained(clip_folder)
    with torch.inference_mode():
        pixels = processor(pictures, return_tensors="pt").pixel_values
        tokens = clip.tokenizer(captions, padding="max_length", max_length=TOKENS, return_tensors="pt")
        told = model(pixel_values=pixels, **tokens)
    images, texts = clip.images(pictures), clip.texts(captions)
    assert torch.allclose(images, told.image_embeds, atol=2e-3) and torch.allclose(texts, told.text_embeds, atol=1e-5)
    (found,) = similarities(images[:, None], texts[:, None])
    expected = torch.nn.functional.cosine_similarity(images[1] - images[0], texts[1] - texts[0], dim=0)
    assert abs(found["clip_sim_dir"] - float(expected)) < 1e-4
    assert set(similarities(images[:, None], None)[0]) == {"clip_sim_image"}


def test_clip_scores_are_added_to_what_was_measured_without(store, clip_folder):
    before, after, region = edited()
    add(store, "plain", before, after, region)
    add(store, "told", before, drawn(seed=2), input_caption="the red", target_caption="the blue")
    score(store)
    assert score(store, Clip(clip_folder)) == 2 and score(store, Clip(clip_folder)) == 0
    scores = {record["id"].lstrip("0"): record for record in store.scores}
    assert (
        "clip_sim_dir" in scores["told"]
        and "clip_sim_dir" not in scores["plain"]
        and "clip_sim_image" in scores["plain"]
    )
    assert any("asked for" in why for why in verdicts(store, direction=1.0)["told"])


def test_the_best_of_one_caption_are_kept(store):
    for index in range(5):
        add(store, str(index), drawn(seed=index), drawn(seed=index + 10), input_caption="a", target_caption="b")
    score(store)
    records = list(store.scores)
    store.scores.append(*({**r, "clip_sim_dir": 0.3 + 0.1 * int(r["id"], 16)} for r in records))
    why = verdicts(store, best=2, duplicates=-1, shift=1)
    assert [bool(why[str(i)]) if i else bool(why[""]) for i in range(5)] == [True, True, True, False, False]


def test_a_folder_that_is_no_clip_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RethinkError, match="clip"):
        Clip(tmp_path)


@pytest.mark.skipif(not (CLIP_FOLDER / "model.safetensors").exists(), reason="the built-in CLIP is not built")
def test_the_built_in_clip_tells_done_edits_from_undone_and_from_others():
    clip = Clip(CLIP_FOLDER)
    assert clip.model.dtype == torch.float32  # its file has half precision, which a CPU only emulates
    tasks = [task for task in map(sample_task, range(60)) if task.kind in ("recolor", "reshape", "background")][:24]
    before = [(image * 255).byte().numpy() for image in render([task.source for task in tasks])]
    after = [(image * 255).byte().numpy() for image in render([task.target for task in tasks])]
    texts = clip.texts([t.source.caption for t in tasks] + [t.target.caption for t in tasks]).unflatten(0, (2, -1))
    right = similarities(torch.stack([clip.images(before), clip.images(after)]), texts)
    wrong = similarities(torch.stack([clip.images(before), clip.images(after[1:] + after[:1])]), texts)
    mean = lambda rows: np.mean([row["clip_sim_dir"] for row in rows])  # noqa: E731
    assert mean(right) > mean(wrong) + 0.15


@pytest.mark.parametrize(
    ("options", "said"), [({"image": 2}, "image"), ({"duplicates": 9}, "duplicates"), ({"best": -1}, "best")]
)
def test_wrong_thresholds_are_refused(options, said):
    with pytest.raises(RethinkError, match=said):
        Thresholds(**options)


def test_a_histogram_counts_everything():
    bars = histogram([0, 0, 0.5, 1], bins=4)
    assert [count for _, count in bars] == [2, 0, 1, 1] and histogram([]) == [] and histogram([3, 3])[0][1] == 2
    assert json.dumps(bars)


def test_a_strangers_name_in_a_reason_is_no_markup():
    reasons = ["<img src=x onerror=alert(1)> is no picture", "too small (31 pixels)", "too small (8 pixels)"]
    assert count_reasons(reasons) == [("too small", 2), ("‹img src=x onerror=alert(1)› is no picture", 1)]
