"""Filtering, looking through, saving and loading pairs, and what the front end may ask about them."""

import json
import shutil

import pytest
from PIL import Image

from tests.support.chats import Seer
from tests.support.datasets import encode_image, write_file
from tests.support.lora_training import write_pairs
from tests.support.pairs import ids

# Filter


def test_pairs_are_kept_or_rejected_with_reasons(filtered, pairs):
    accepted, rejected, report = filtered(changed=0.2).result
    assert ids(accepted) and ids(rejected)
    assert ids(accepted) | ids(rejected) == ids(pairs) and ids(accepted).isdisjoint(ids(rejected))
    verdicts = pairs.current_verdicts()
    assert all(verdicts[id]["why"] for id in ids(rejected))
    kept, _, rest = report.partition("\n")
    assert kept == f"{len(ids(accepted))} of 12 pairs kept."
    assert f"{len(ids(rejected))} × too little changed" in rest


def test_a_moved_threshold_measures_nothing_again(filtered, part, monkeypatch):
    strict = filtered(changed=0.9).result
    monkeypatch.setattr(part("rethink.pairs.review.filters"), "measure", None)
    loose = filtered(changed=0.0).result
    assert ids(strict[0]) < ids(loose[0]) and len(ids(loose[0])) == 12


def test_the_widgets_are_the_thresholds(classes, part, models, results):
    from dataclasses import asdict

    described = classes["RethinkFilterEditPairs"].describe()["input"]["required"]
    defaults = asdict(part("rethink.pairs.review.filters").Thresholds())
    assert {name: described[name][1]["default"] for name in defaults} == defaults


def test_the_plots_have_every_pair_that_has_the_score(filtered):
    (shown,) = filtered().ui["rethink_filter"]
    plots = {plot["threshold"]: plot for plot in shown["plots"]}
    assert sum(count for _, count in plots["changed"]["bins"]) == 12 and plots["changed"]["above"]
    assert "image" not in plots  # no CLIP
    json.dumps(shown)


def test_another_clip_measures_anew_and_the_same_one_does_not(filtered, models, pairs, clip_folder):
    for name in ("one", "other"):
        shutil.copytree(clip_folder, models.clip_vision / name)
    loose = {"image": -1.0, "changed": 0.0}
    for name in ("one", "other", "other"):
        accepted, _, _ = filtered(name, **loose).result
    assert len(ids(accepted)) == 12
    assert [record["clip"] for record in pairs.scores].count("one") == 12
    assert [record["clip"] for record in pairs.scores].count("other") == 12


def test_a_critic_marks_every_pair_once_and_says_why(filtered, pairs, part):
    critic = Seer('{"score": 3, "why": "a hand is missing"}')
    thinker = part("rethink.thinkers.critique").Thinker(critic)
    for _ in range(2):
        accepted, rejected, report = filtered(thinker=thinker, changed=0.0).result
    assert len(critic.asked) == 12 == len(ids(rejected)) and not ids(accepted)
    assert "12 × the critic does not approve" in report
    assert len(ids(filtered(critic=2.0, changed=0.0).result[0])) == 12


@pytest.mark.parametrize(
    ("inputs", "sentence"), [({"image": 2.0}, "image: expected"), ({"clip": "../x"}, "clip: there is no")]
)
def test_a_wrong_filter_is_one_sentence(filtered, RethinkError, inputs, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        filtered(**inputs)


# Look through


def test_the_sheet_is_a_picture_and_the_view_holds_no_pixels(classes, pairs, review):
    node = classes["RethinkPreviewPairs"].execute(pairs, 5)
    sheet, accepted = node.result
    assert sheet.ndim == 4 and sheet.shape[-1] == 3 and ids(accepted) == ids(pairs)
    (shown,) = node.ui["rethink_pairs"]
    assert shown["count"] == 12 and len(json.dumps(shown)) < 300
    assert len(review.list_pairs(shown["sheet"])["pairs"]) == 5
    assert review.list_pairs(shown["key"], count="1")["counts"] == {
        "all": 12,
        "accepted": 12,
        "rejected": 0,
        "open": 12,
    }


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (12, 3)])
def test_the_sheet_shows_few_pairs_in_few_columns_and_small_pictures_enlarged(classes, pairs, part, count, columns):
    thumb = part("rethink.pairs.contact_sheet").THUMB
    height, width = pairs.read_image(next(iter(pairs)).target).shape[:2]
    assert width < thumb
    _, tall, wide, _ = classes["RethinkPreviewPairs"].execute(pairs, count).result[0].shape
    assert columns * 2 * thumb < wide < columns * 2 * thumb * 1.2
    assert tall > count // columns * min(thumb, thumb * height // width)


def test_an_empty_selection_is_said(classes, pairs, RethinkError):
    with pytest.raises(RethinkError, match="^pairs: there are none"):
        classes["RethinkPreviewPairs"].execute(type(pairs)(pairs.folder, ()), 5)


# Save and load


def saved(classes, pairs, format, name="out", **options):
    return classes["RethinkSaveEditDataset"].execute(pairs, name, {"format": format, **options}).result


def test_every_format_is_saved_and_loaded_again(classes, part, pairs, models, results):
    distinct = {(pairs.read_image(pair.input).tobytes(), pair.instruction) for pair in pairs}
    for format in part("rethink.pairs.formats").FORMATS:
        folder, report = saved(classes, pairs, format, f"exports/{format}", replace=False)
        assert folder == str(models.datasets / "exports" / format) and "The target: " in report
        choice = {"format": format, "dataset": f"exports/{format}", "into": f"again-{format}"}
        loaded, report = classes["RethinkLoadEditDataset"].execute(choice).result
        assert len(ids(loaded)) == len(distinct) and report.startswith(f"{len(distinct)} pairs read")
        assert {pair.instruction for pair in loaded} == {pair.instruction for pair in pairs}


def test_the_node_shows_where_the_dataset_lies(classes, pairs, models, results):
    done = classes["RethinkSaveEditDataset"].execute(pairs, "out", {"format": "imagefolder", "replace": False})
    assert done.ui == {"rethink_text": [done.result[1]]} and f"pairs in {done.result[0]}." in done.result[1]


def test_rejected_pairs_are_not_saved(classes, pairs, review):
    review.set_verdict(review.publish(pairs), next(iter(pairs)).id, False)
    assert saved(classes, pairs, "imagefolder", replace=False)[1].startswith("11 pairs")


def test_a_store_is_added_to_with_scores_and_verdicts(classes, pairs, filtered):
    accepted, _, _ = filtered(changed=0.2).result
    assert saved(classes, accepted, "pair store")[1].startswith(f"{len(ids(accepted))} new pairs")
    assert saved(classes, pairs, "pair store")[1].startswith("0 new pairs")  # the others are rejected
    loaded, _ = classes["RethinkLoadEditDataset"].execute({"format": "pair store", "dataset": "out"}).result
    assert ids(loaded) == ids(accepted)
    assert {record["id"] for record in loaded.scores} == set(loaded.current_verdicts()) == ids(accepted)


def test_an_export_is_replaced_only_when_asked_and_only_if_it_is_ours(classes, pairs, models, RethinkError, review):
    saved(classes, pairs, "imagefolder", replace=False)
    with pytest.raises(RethinkError, match="already exists"):
        saved(classes, pairs, "imagefolder", replace=False)
    review.set_verdict(review.publish(pairs), next(iter(pairs)).id, False)
    assert saved(classes, pairs, "ai-toolkit", replace=True)[1].startswith("11 pairs")
    assert not (models.datasets / "out" / "metadata.jsonl").exists()
    nothing = type(pairs)(pairs.folder, ())
    with pytest.raises(RethinkError, match="no accepted pair"):
        saved(classes, nothing, "ai-toolkit", replace=True)
    assert (models.datasets / "out" / "dataset.yaml").exists()  # what was there came back
    (models.datasets / "mine").mkdir()
    (models.datasets / "mine" / "diary.txt").write_text("dear")
    for name in ("mine", "pairs"):
        with pytest.raises(RethinkError, match=r"^format\.replace: "):
            saved(classes, pairs, "imagefolder", name, replace=True)
    assert (models.datasets / "mine" / "diary.txt").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/tmp/x",
        "",
        " ",
        "a/../../b",
        "c:\\x",
        ".hidden",
        "a\nb",
        "..",
        "x/../..",
        "CON",
        "a/nul.txt",
        "pairs.",
        "com1 .x",
        "é" * 101,
    ],
)
def test_a_name_never_leads_out_of_the_folder_for_datasets(classes, pairs, RethinkError, name):
    with pytest.raises(RethinkError, match="^name: .* is not a valid name for a folder"):
        saved(classes, pairs, "imagefolder", name, replace=False)


def test_a_name_with_spaces_and_unicode_is_a_name(classes, pairs, models):
    folder, _ = saved(classes, pairs, "imagefolder", "my édits 1", replace=False)
    assert folder == str(models.datasets / "my édits 1")


def test_a_link_out_of_the_folder_for_datasets_is_no_dataset(classes, pairs, models, tmp_path, RethinkError):
    (tmp_path / "elsewhere").mkdir()
    (models.datasets / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RethinkError, match="^name: “link/x” is not a valid name"):
        saved(classes, pairs, "imagefolder", "link/x", replace=False)


def test_nothing_there_to_load_is_said(classes, models, RethinkError):
    with pytest.raises(RethinkError, match="has no manifest"):
        classes["RethinkLoadEditDataset"].execute({"format": "pair store", "dataset": "none"})


def test_what_was_put_into_an_export_by_hand_is_never_replaced(classes, pairs, models, RethinkError):
    saved(classes, pairs, "imagefolder", replace=False)
    (models.datasets / ".out.old").mkdir()
    for file in (".out.old/mine.txt", "out/diary.txt"):
        (models.datasets / file).write_text("dear")
    with pytest.raises(RethinkError, match=r"^format\.replace: .*diary.txt"):
        saved(classes, pairs, "imagefolder", replace=True)
    assert (models.datasets / "out/diary.txt").read_text() == "dear" and (
        models.datasets / "out/metadata.jsonl"
    ).exists()
    (models.datasets / "out/diary.txt").unlink()
    assert saved(classes, pairs, "ai-toolkit", replace=True)[1].startswith("12 pairs")
    assert (models.datasets / ".out.old/mine.txt").read_text() == "dear"


def test_a_dataset_that_a_kill_has_left_hidden_is_offered_again(classes, part, pairs, models, caplog):
    """Between the two renames of a replacement there is no folder of its name."""
    inner = part("rethink.pairs.own_files").REPLACED
    saved(classes, pairs, "imagefolder", replace=False)
    saved(classes, pairs, "ai-toolkit", "new", replace=False)
    (models.datasets / "out").rename(models.datasets / "new" / inner)
    (models.datasets / "new").rename(models.datasets / ".out.part")
    described = json.dumps(classes["RethinkLoadEditDataset"].describe())
    assert '"out"' in described and "has been completed" in caplog.text
    assert (models.datasets / "out/dataset.yaml").exists() and not list(models.datasets.glob(".*"))
    assert not (models.datasets / "out" / inner).exists()


def dataset(models, *entries):
    """A data set of ai-toolkit's: {name: caption or None}."""
    for number, (name, text) in enumerate(entries):
        for side in ("target", "control"):
            path = models.datasets / "theirs" / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48), (number, 0, len(side))).save(path)
        if text is not None:
            (models.datasets / "theirs/target" / f"{name}.txt").write_bytes(text)


def test_the_report_of_an_import_counts_reasons_and_is_no_markup(classes, models, results):
    dataset(
        models, ("good", b"make it red"), ("<img src=x onerror=alert(1)>", None), ("[a](b)", None), ("c", b"se\xf1or")
    )
    choice = {"format": "ai-toolkit", "dataset": "theirs", "into": "mine"}
    for _ in range(2):  # the second time nothing is new, and nothing said twice
        loaded, report = classes["RethinkLoadEditDataset"].execute(choice).result
        assert len(ids(loaded)) == 1 and not set(report) & set("<>[]")
        assert "3 skipped" in report and "2 × it has no instruction (first: target/‹img src=x" in report
        assert "1 × its text cannot be read: it seems to be Windows-1252" in report


def test_a_dataset_is_given_on_without_what_its_store_has_of_others(classes, models):
    for name, text in (("first", "make it red"), ("second", "add a hat")):
        for side in ("before", "after"):
            write_file(models.datasets / name / side / "a.png", encode_image(len(name + side)))
        chosen = {"format": "before-after", "dataset": name, "into": "imported", "instruction": text}
        store = classes["RethinkLoadEditDataset"].execute(chosen).result[0]
        assert [pair.instruction for pair in store] == [text]


def test_an_import_and_a_store_without_a_pair_say_what_is_wrong(classes, part, models, results, RethinkError):
    dataset(models, ("a", None), ("b", None))
    choice = {"format": "ai-toolkit", "dataset": "theirs", "into": "mine"}
    with pytest.raises(
        RethinkError, match=r"^format\.dataset: no pair of .*theirs could be read: 2 × it has no instruction"
    ):
        classes["RethinkLoadEditDataset"].execute(choice)
    with pytest.raises(RethinkError, match=r"^format\.dataset: .*theirs has no metadata.*it holds control, target"):
        classes["RethinkLoadEditDataset"].execute(choice | {"format": "imagefolder"})
    store = part("rethink.pairs.store").PairStore(models.datasets / "empty")
    with store.writing():
        store.manifest.path.touch()
    with pytest.raises(RethinkError, match=r"^format\.dataset: .*empty is a pair store without pairs"):
        classes["RethinkLoadEditDataset"].execute({"format": "pair store", "dataset": "empty"})


def test_a_damaged_line_of_a_store_is_in_the_report(classes, pairs, models):
    saved(classes, pairs, "pair store")
    with open(models.datasets / "out/manifest.jsonl", "a") as manifest:
        manifest.write('{"id": "<img>"}\n')
    loaded, report = classes["RethinkLoadEditDataset"].execute({"format": "pair store", "dataset": "out"}).result
    assert ids(loaded) == ids(pairs) and "line 13 is damaged" in report and "<" not in report


def test_the_report_says_what_became_of_references(classes, part, models, tmp_path, results):
    write_pairs(tmp_path / "s", 4, references=(0, 1))
    pairs = part("rethink.pairs.store").PairStore(tmp_path / "s")
    _, report = saved(classes, pairs, "fal-zip", "a", replace=False)
    assert report.startswith("4 pairs") and "References of 2 pairs: `ROOT_start2.png`" in report
    _, report = saved(classes, pairs, "instruct-pix2pix", "b", replace=False)
    assert report.startswith("2 pairs") and "2 pairs with references are left out" in report
