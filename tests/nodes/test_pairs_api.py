"""What the front end may ask about pairs: lists, images, verdicts, thresholds tried out."""

import io as bytes_io
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.support.lora_training import write_pairs
from tests.support.pairs import ids


def test_pairs_are_listed_page_by_page(pairs, review):
    key, seen = review.publish(pairs), []
    while page := review.list_pairs(key, after=seen[-1] if seen else "", count="5")["pairs"]:
        seen += [pair["id"] for pair in page]
    assert seen == [pair.id for pair in pairs]


def test_a_page_and_a_verdict_read_no_more_than_was_added(pairs, review, part, monkeypatch):
    key, (first, *_), read = review.publish(pairs), list(pairs), []
    since = part("rethink.pairs.store").JsonlLog.read_from
    lines = lambda self, place: (read.append(line) or line for line in since(self, place))  # noqa: E731
    monkeypatch.setattr(part("rethink.pairs.store").JsonlLog, "read_from", lines)
    review.set_verdict(key, first.id, False)
    assert len(read) == 1 and review.list_pairs(key, count="1")["pairs"][0]["state"] == "rejected"
    review.set_verdict(key, first.id, None)
    assert review.list_pairs(key)["counts"]["rejected"] == 0 and len(read) == 2


def test_a_folder_that_was_made_anew_is_read_anew(synthesized, review):
    review.set_verdict(review.publish(synthesized(3)), min(ids(synthesized(3))), False)
    shutil.rmtree(synthesized(3).folder)
    assert review.list_pairs(review.publish(synthesized(5)))["counts"] == {
        "all": 12,
        "accepted": 12,
        "rejected": 0,
        "open": 12,
    }


def test_a_verdict_is_kept_with_the_pairs_and_stands_over_the_filter(filtered, pairs, review, classes):
    accepted, rejected, _ = filtered(changed=0.2).result
    key, bad, good = review.publish(pairs), min(ids(accepted)), min(ids(rejected))
    before = classes["RethinkPreviewPairs"].fingerprint_inputs(pairs=None)
    assert review.set_verdict(key, bad, False) == {"state": "rejected", "by": "person", "why": []}
    assert review.set_verdict(key, good, True)["state"] == "accepted"
    assert classes["RethinkPreviewPairs"].fingerprint_inputs(pairs=None) != before  # what depends on it is made anew
    again = type(pairs)(pairs.folder)
    assert bad not in {pair.id for pair in again.accepted()} and good in {pair.id for pair in again.accepted()}
    accepted, rejected, report = filtered(changed=0.2).result
    assert bad in ids(rejected) and good in ids(accepted) and "1 × rejected manually" in report
    assert [pair["id"] for pair in review.list_pairs(key, show="rejected")["pairs"] if pair["by"] == "person"] == [bad]
    assert review.list_pairs(key, show="open")["counts"]["open"] == 10
    taken_back = review.set_verdict(key, good, None)
    assert taken_back["state"] == "rejected" and taken_back["by"] == "filter" and taken_back["why"]


def test_thresholds_are_tried_without_a_trace(filtered, pairs, review):
    (shown,) = filtered(changed=0.2).ui["rethink_filter"]
    lines = len(list(pairs.verdicts))
    loose = review.preview_thresholds(shown["key"], **{**shown["limits"], "changed": 0})
    strict = review.preview_thresholds(shown["key"], **{**shown["limits"], "changed": 1})
    assert loose == {"accepted": 12, "rejected": 0, "why": []}
    assert strict["rejected"] == sum(count for _, count in strict["why"]) > 0
    assert len(list(pairs.verdicts)) == lines


def test_pictures_are_shown_at_the_size_asked_for_and_real_pixels_without_loss(pairs, review):
    key, pair = review.publish(pairs), next(iter(pairs))
    with Image.open(bytes_io.BytesIO(review.read_image(key, pair.target, "64"))) as thumb:
        assert thumb.size == (64, 48)
    with Image.open(bytes_io.BytesIO(review.read_image(key, pair.target, "4096"))) as real:
        assert (np.asarray(real) == pairs.read_image(pair.target)).all()


@pytest.mark.parametrize(
    "path", ["../manifest.jsonl", "manifest.jsonl", "/etc/passwd", "images/../../x", "images/none.png", ""]
)
def test_nothing_but_the_pictures_of_published_pairs_is_shown(pairs, review, RethinkError, path):
    with pytest.raises(RethinkError):
        review.read_image(review.publish(pairs), path, "64")


def test_a_link_that_leads_out_is_not_followed(pairs, review, RethinkError, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (pairs.folder / "images" / "out.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(RethinkError, match="^path: “images/out.png” is not an image"):
        review.read_image(review.publish(pairs), "images/out.png", "64")


def test_unknown_keys_and_pairs_are_refused(pairs, review, RethinkError):
    with pytest.raises(RethinkError, match="Run the workflow again"):
        review.list_pairs("no such key")
    with pytest.raises(RethinkError, match="^id: there is no pair"):
        review.set_verdict(review.publish(pairs), "no such pair", True)
    with pytest.raises(RethinkError, match="^accepted: expected"):
        review.set_verdict(review.publish(pairs), next(iter(pairs)).id, "perhaps")


def test_references_are_listed_and_served_as_images(part, review, tmp_path):
    write_pairs(tmp_path, 2, references=(0, 2))
    key = review.publish(part("rethink.pairs.store").PairStore(tmp_path))
    plain, dressed = review.list_pairs(key)["pairs"]
    assert list(plain["references"]) == [] and len(dressed["references"]) == 2
    image = Image.open(bytes_io.BytesIO(review.read_image(key, dressed["references"][1], "4096")))
    assert image.size == (48, 24)
