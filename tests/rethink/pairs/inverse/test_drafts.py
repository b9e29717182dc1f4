"""Drafts of pairs: what an editor or an operation does, and what it was not meant to do."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.pairs.inverse.drafts import SynthesisConfig, editor_maker
from rethink.pairs.inverse.instructions import Description
from rethink.pairs.inverse.sources import ImageFolder, NamedBox, Source
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.pixels import read_mask
from rethink.pairs.store import PairStore
from tests.support.pairs import draw_image
from tests.support.synthesis import model_source, run_synthesis


def test_an_editor_does_the_inverse_and_a_mask_holds_it(folder, tmp_path):
    class Darkens:
        name = "darkens"

        def prepare(self, images):
            return images

        def edit(self, prepared, instructions, seeds, settings, mask=None):
            assert instructions == ["remove the hat"] and prepared.dtype == torch.float32
            return prepared * 0.5

    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.pad(np.full((40, 40), 255, np.uint8), ((0, 80), (0, 120)))).save(masks / "photo 0.png")
    config = SynthesisConfig()
    with PairStore(tmp_path / "s").writing() as store:
        make = editor_maker(
            store,
            config,
            model_source(Darkens()),
            "remove the hat",
            Settings(),
            Description("the man's head", "A red hat."),
        )
        assert synthesize(store, ImageFolder(folder, masks), make, 1).made == 6
    for pair in store:
        assert pair.instruction.endswith("A red hat.") and pair.parameters["inverse"] == "remove the hat"
        before, after = store.read_image(pair.input), store.read_image(pair.target)
        if pair.source == "photo 0.png":
            assert (before[40:] == after[40:]).all() and (before[:40, :40] != after[:40, :40]).any()
        else:
            assert before.mean() < 0.6 * after.mean() and not pair.region


def test_an_editor_works_where_a_box_says_and_the_box_tells(folder, tmp_path):
    editor = SimpleNamespace(name="e", prepare=lambda image: image, edit=lambda image, *_, mask=None: image * 0.2)
    spots = {f"photo {i}.png": (NamedBox((0, 0, 0.5, 0.5), "the sign", "It says STOP."),) for i in range(6)}
    with PairStore(tmp_path / "s").writing() as store:
        make = editor_maker(
            store, SynthesisConfig(), model_source(editor), "x", Settings(), Description("the wall", "It is red.")
        )
        assert synthesize(store, ImageFolder(folder, boxes=spots), make, 1).made == 6
    for pair in store:
        before, after = store.read_image(pair.input), store.read_image(pair.target)
        assert (
            (before[60:] == after[60:]).all()
            and (before[:, 80:] == after[:, 80:]).all()
            and (before[:60, :80] < after[:60, :80]).mean() > 0.5
        )
        assert "the sign" in pair.instruction and pair.instruction.endswith("It says STOP.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"operations": ()}, "operation"),
        ({"operations": ("explode",)}, "explode"),
        ({"area": (0.5, 0.1)}, "area"),
        ({"pairs": 0}, "pairs"),
        ({"ranges": {"blur": {"radius": 1}}}, "radius"),
    ],
)
def test_a_wrong_recipe_is_refused(options, said):
    with pytest.raises(RethinkError, match=said):
        SynthesisConfig(**options)


class Coding:
    """An editor that errs everywhere by a little, as autoencoders do, and does what it is told with the left upper part."""

    name = "coding"

    def __init__(self, does=lambda part: part):
        self.does = does

    def prepare(self, images):
        return images

    def edit(self, prepared, instructions, seeds, settings, mask=None):
        noise = torch.randn(prepared.shape, generator=torch.Generator().manual_seed(seeds[0]))
        edited = (prepared + 0.012 * noise).clamp(0, 1)
        edited[:, 20:70, 20:80] = self.does(edited[:, 20:70, 20:80])
        return edited


def edited_by(editor, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(draw_image(240, 320)).save(photos / "a.png")
    with PairStore(tmp_path / "s").writing() as store:
        what = Description("the face", "He has brown hair.")
        synthesize(
            store,
            ImageFolder(photos),
            editor_maker(store, SynthesisConfig(), model_source(editor), "cover the face", Settings(), what),
            1,
        )
    return store


def test_what_an_editor_did_not_mean_to_change_stays_bit_for_bit(tmp_path):
    store = edited_by(Coding(torch.zeros_like), tmp_path)
    (pair,) = store
    before, after = store.read_image(pair.input), store.read_image(pair.target)
    region = read_mask(store.folder / pair.region, after.shape[:2])
    assert (before[~region] == after[~region]).all() and region[25:65, 25:75].all() and region.mean() < 0.1
    assert "the face" in pair.instruction and pair.instruction.endswith("He has brown hair.")


def test_an_editor_that_only_codes_has_done_nothing(tmp_path):
    store = edited_by(Coding(), tmp_path)
    assert not list(store) and "changed nothing" in next(iter(store.skipped))["why"]


def test_a_change_that_nobody_sees_is_none(tmp_path):
    gray = np.repeat(draw_image()[..., :1], 3, 2)
    gray[..., 2] = (gray[..., 2].astype(int) + 3).clip(0, 255)  # a black-and-white photograph, as JPEG keeps it
    Image.fromarray(gray).save(tmp_path / "a.png")
    store, done = run_synthesis(
        tmp_path / "s", [Source("a.png", str(tmp_path / "a.png"))], SynthesisConfig(("greyscale",))
    )
    assert done.made == 0 and "nothing visible" in next(iter(store.skipped))["why"]
