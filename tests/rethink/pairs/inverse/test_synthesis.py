"""Whole runs: the real picture is the target, a killed run goes on, bad pictures are skipped with their reason."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rethink.editors.server_editor import ServerEditor
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.pairs.from_captions.caption_edits import built_in_edits, captions_to_edits
from rethink.pairs.inverse.drafts import SynthesisConfig, editor_maker
from rethink.pairs.inverse.instructions import InstructionWriter
from rethink.pairs.inverse.locate import LocatedSources
from rethink.pairs.inverse.operations import OPERATIONS
from rethink.pairs.inverse.sources import ImageFolder, NamedBox, Source, read_boxes_file
from rethink.pairs.inverse.synthesis import SynthesisProgress, synthesize
from rethink.pairs.jsonl_log import DiskFull
from rethink.pairs.pixels import read_mask, read_pixels
from rethink.pairs.review.filters import score
from rethink.pairs.review.grading import grade_pairs
from rethink.pairs.store import PairStore
from tests.support.edit_servers import edit, edit_server, refusal
from tests.support.pairs import draw_image, read_store
from tests.support.synthesis import model_source, run_synthesis


def test_the_real_picture_is_the_target_and_outside_the_region_nothing_differs(folder, tmp_path):
    operations = tuple(id for id, op in OPERATIONS.items() if op.where != "subject")
    spots = {f"photo {i}.png": (NamedBox((0.2, 0.2, 0.6, 0.6)),) for i in range(6)}
    store, done = run_synthesis(tmp_path / "s", ImageFolder(folder, boxes=spots), SynthesisConfig(operations, pairs=8))
    pairs = list(store)
    assert done.made == len(pairs) == 48 and done.skipped == 0
    assert len({pair.operation for pair in pairs}) > 10 and len({pair.id for pair in pairs}) == 48
    for pair in pairs:
        before, after = store.read_image(pair.input), store.read_image(pair.target)
        assert (after == read_pixels(folder / pair.source)).all()
        region = (
            read_mask(store.folder / pair.region, after.shape[:2]) if pair.region else np.ones(after.shape[:2], bool)
        )
        assert (before[~region] == after[~region]).all() and (before != after).any()
        assert pair.instruction
    assert len(list(store.folder.rglob("*-target.png"))) == 6, "a target is stored once, however many pairs share it"


KILLS = 8


def test_killed_again_and_again_at_random_it_makes_what_an_uninterrupted_run_makes(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(40):
        Image.fromarray(draw_image(seed=index)).save(photos / f"{index}.png")
    (photos / "broken.png").write_bytes(b"no picture")
    config, killed, chance = SynthesisConfig(pairs=4), tmp_path / "killed", random.Random(1)
    started = time.process_time()
    run_synthesis(tmp_path / "whole", ImageFolder(photos), config)
    share = (time.process_time() - started) / KILLS  # of the work: so that something is left for the last of them
    counts = []
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:  # the system ends it without a word after so much of its own time, on a busy machine too
            signal.setitimer(signal.ITIMER_PROF, chance.uniform(0.1, 0.7) * share)
            run_synthesis(killed, ImageFolder(photos), config)
            os._exit(0)
        chance.random()
        assert os.waitpid(child, 0)[1] == signal.SIGPROF, "it ended before it was killed"
        counts.append(_whole_pairs(killed))
    assert len(set(counts)) > 3 and counts == sorted(counts), counts
    run_synthesis(killed, ImageFolder(photos), config)
    assert read_store(killed) == read_store(tmp_path / "whole")


def _whole_pairs(folder):
    """How many pairs a store has; the pictures of the latest, which a kill could have torn, are whole."""
    pairs = list(PairStore(folder))
    for pair in pairs[-20:]:
        assert read_pixels(folder / pair.input).shape == read_pixels(folder / pair.target).shape
    return len(pairs)


def test_bad_pictures_are_skipped_with_their_reason_and_the_rest_is_made(folder, tmp_path):
    Image.fromarray(draw_image()[:8, :8]).save(folder / "tiny.png")
    (folder / "torn.jpg").write_bytes((folder / "photo 0.png").read_bytes()[:500])
    frames = [Image.fromarray(draw_image(seed=i)) for i in range(2)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(draw_image()).save(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    os.symlink(folder / "photo 1.png", folder / "inside.png")
    os.symlink(folder, folder / "loop")
    os.mkdir(folder / "folder.png")
    Image.new("RGB", (64, 64)).save(folder / "flat black.png")
    os.symlink(folder / "gone.png", folder / "dangling.png")
    os.mkfifo(folder / "pipe.png")
    Image.fromarray(draw_image()).save(folder / "line\nbreak ünï ✓.png")
    Image.fromarray(draw_image()).save(folder / "of another tongue.png")
    os.rename(
        folder / "of another tongue.png", os.fsencode(folder) + b"/\xff\xfe.png"
    )  # no text in any encoding of today
    config = SynthesisConfig(("cover",), {"cover": {"fill": "black"}}, pairs=2)
    store, _done = run_synthesis(tmp_path / "s", ImageFolder(folder), config, processes=2)
    reasons = {record["source"]: record["why"] for record in store.skipped}
    assert set(reasons) == {
        "tiny.png",
        "torn.jpg",
        "link.png",
        "flat black.png",
        "dangling.png",
        "pipe.png",
        "loop",
    }
    for name, said in (
        ("tiny", "too few"),
        ("torn", "cannot be read"),
        ("link", "leads out"),
        ("flat", "changed nothing"),
        ("dangling", "not a file"),
        ("pipe", "not a file"),
    ):
        assert said in next(why for source, why in reasons.items() if source.startswith(name))
    assert {pair.source for pair in store} == {f"photo {i}.png" for i in range(6)} | {
        "inside.png",
        "moving.gif",
        "line\nbreak ünï ✓.png",
        "\udcff\udcfe.png",
    }
    lines = store.skipped.path.read_text()
    run_synthesis(tmp_path / "s", ImageFolder(folder), config, processes=2)
    assert store.skipped.path.read_text() == lines, "a second run does not report the same again"


def test_a_folder_that_cannot_be_looked_into_is_reported(folder, monkeypatch):
    (folder / "closed").mkdir()
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    assert list(ImageFolder(folder))[6:] == [("closed", "the folder cannot be read: Permission denied")]


def test_masks_and_boxes_say_where(folder, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:50] = 255
    Image.fromarray(mask).save(masks / "photo 0.png")  # half the picture's size: it is scaled
    Image.fromarray(mask * 0).save(masks / "photo 1.png")
    (masks / "photo 2.png").write_text("no mask")
    os.symlink(folder / "photo 4.png", masks / "photo 4.png")
    store, _ = run_synthesis(tmp_path / "m", ImageFolder(folder, masks), SynthesisConfig(("flat_background",)))
    (pair,) = store
    region = read_mask(store.folder / pair.region, (120, 160))
    assert not region[50:70, 70:90].any() and region[:30].all()
    reasons = {record["source"]: record["why"] for record in store.skipped}
    assert (
        "empty" in reasons["photo 1.png"]
        and "mask" in reasons["photo 2.png"]
        and "need a mask" in reasons["photo 3.png"]
    )
    assert "leads out" in reasons["photo 4.png"]

    boxes = tmp_path / "boxes.json"
    boxes.write_text(
        json.dumps(
            {"photo 0.png": [{"box": [0.25, 0.25, 0.5, 0.5], "place": "the cat's ear", "hidden": "It is torn."}]}
        )
    )
    config = SynthesisConfig(("cover",), {"cover": {"shape": "ellipse"}})
    store, _ = run_synthesis(tmp_path / "b", ImageFolder(folder, boxes=read_boxes_file(boxes)), config)
    pair = next(pair for pair in store if pair.source == "photo 0.png")
    region = read_mask(store.folder / pair.region, (120, 160))
    assert not region[:29].any() and not region[61:].any() and region[45, 60]
    assert "the cat's ear" in pair.instruction and pair.instruction.endswith("It is torn.")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": [{"box": [0, 0, 2, 1]}]}', '{"a": [{"box": [0, 0]}]}', '{"a": [{}]}', '{"a": 3}']
)
def test_a_wrong_file_of_boxes_is_named(tmp_path, text):
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(RethinkError, match="boxes"):
        read_boxes_file(tmp_path / "boxes.json")


def test_an_editor_whose_server_is_gone_ends_the_run_which_goes_on_where_the_server_is_again(folder, tmp_path):
    def make(editor):
        maker = editor_maker(store, SynthesisConfig(), model_source(editor), "invert it", Settings())
        return synthesize(store, ImageFolder(folder), maker, 4)

    with PairStore(tmp_path / "s").writing() as store:
        with edit_server() as server:
            server.replies = [edit, edit, refusal(503, "it is gone")]
            with pytest.raises(RethinkError, match=r"503: it is gone\. \(20 times in a row\); .*the run resumes"):
                make(ServerEditor(server.url, "painter", retries=0))
        assert len(list(store)) == 2
        with edit_server() as server:
            done = make(ServerEditor(server.url.replace("127.0.0.1", "localhost"), "painter", retries=0))
    assert (done.made, len(server.requests)) == (22, 22), "what was there was not made again"


def test_a_broken_editor_skips_and_a_full_disk_ends_the_run(folder, tmp_path, monkeypatch):
    def explode(*args, **kwargs):
        raise RuntimeError("boom")

    editor = SimpleNamespace(name="e", prepare=explode, edit=explode)
    with PairStore(tmp_path / "s").writing() as store:
        done = synthesize(
            store, ImageFolder(folder), editor_maker(store, SynthesisConfig(), model_source(editor), "x", Settings()), 1
        )
    assert done.made == 0 and done.skipped == 6 and "boom" in next(iter(store.skipped))["why"]

    def full(path, data):
        raise OSError(28, "No space left on device")

    for what in ("rethink.pairs.store.write_atomically", "os.write"):  # the pictures, the manifest
        monkeypatch.setattr(what, full)
        with pytest.raises(DiskFull, match="no space"):
            run_synthesis(tmp_path / "t", ImageFolder(folder), SynthesisConfig())
        monkeypatch.undo()
    _, done = run_synthesis(tmp_path / "t", ImageFolder(folder), SynthesisConfig())
    assert done.made == 6


def test_a_thinker_that_fails_skips_the_pair_and_leaves_no_picture_behind(folder, tmp_path, scripted):
    chat = scripted("I'm sorry, I cannot help with that.", RuntimeError("timeout"), "blah " * 300)
    store, done = run_synthesis(
        tmp_path / "s", ImageFolder(folder), SynthesisConfig(("cover",)), InstructionWriter(chat)
    )
    assert done.made == 0 and done.skipped == 6
    assert not list(store.folder.rglob("*-input.png"))
    _, done = run_synthesis(
        tmp_path / "s",
        ImageFolder(folder),
        SynthesisConfig(("cover",)),
        InstructionWriter(scripted('{"place": "the wall", "description": "It is green."}')),
    )
    assert done.made == 6


def test_a_folder_that_is_not_there_is_refused_and_one_is_walked_without_being_held(tmp_path):
    with pytest.raises(RethinkError, match="no folder"):
        ImageFolder(tmp_path / "missing")
    for index in range(300):
        (tmp_path / f"{index}.png").touch()
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "notes.txt").touch()
    walked = iter(ImageFolder(tmp_path))
    assert isinstance(next(walked), Source) and sum(1 for _ in walked) == 299


def test_a_store_among_the_pictures_is_none_of_them(folder, tmp_path):
    (folder / "linked").symlink_to(tmp_path)
    (folder / ".lock").write_text("of somebody else")
    store, done = run_synthesis(folder / "pairs", ImageFolder(folder), SynthesisConfig(("cover",)))
    again, _ = run_synthesis(folder / "pairs", ImageFolder(folder), SynthesisConfig(("cover",), pairs=2))
    assert done.made == 6 and len(list(again)) == 12
    assert {record["source"] for record in store.skipped} == {"linked", "pairs"}


def test_a_thinker_that_is_away_ends_the_run_which_goes_on(folder, tmp_path, scripted, monkeypatch):
    monkeypatch.setattr("rethink.thinkers.asking.MAX_CONSECUTIVE_FAILURES", 3)
    answers = [ConnectionError("gone")] * 6 + ['{"description": "It is red."}'] + [ConnectionError("gone")] * 9
    with pytest.raises(RethinkError, match="gone.*3 times in a row.*the run resumes"):
        run_synthesis(
            tmp_path / "s", ImageFolder(folder), SynthesisConfig(("cover",)), InstructionWriter(scripted(*answers))
        )
    assert len(list(PairStore(tmp_path / "s"))) == 1, "what was made before it went"
    store, done = run_synthesis(
        tmp_path / "s",
        ImageFolder(folder),
        SynthesisConfig(("cover",)),
        InstructionWriter(scripted('{"description": "It is red."}')),
    )
    assert (done.made, len(list(store))) == (5, 6)
    with PairStore(tmp_path / "s").writing() as store:
        score(store)
        away = scripted(ConnectionError("gone"))
        for work in (
            lambda: list(LocatedSources(ImageFolder(folder), away, "a face", store.spots, 0)),
            lambda: grade_pairs(store, away),
            lambda: captions_to_edits(away, [(f"a {i}", "") for i in range(9)], tmp_path / "o.jsonl", built_in_edits()),
        ):
            with pytest.raises(RethinkError, match="3 times in a row"):
                work()


def test_the_time_left_is_that_of_the_work_alone():
    half = SynthesisProgress(seen=25, total=50, done=51, wanted=100, idle=50, made=1, skipped=0, seconds=60.0)
    assert half.left == "0:49:00" and replace(half, done=50).left == "?"
