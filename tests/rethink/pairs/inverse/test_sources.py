"""Which mask and which boxes are of which picture, however people spell names; and what is said of the rest."""

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs.inverse.sources import ImageFolder, NamedBox, Source, read_boxes_file
from tests.support.pairs import draw_image

BOX = [{"box": [0.1, 0.2, 0.3, 0.4], "place": "the sign"}]
SPOT = (NamedBox((0.1, 0.2, 0.3, 0.4), "the sign"),)


def put(place, *names):
    """Small pictures at these names."""
    for index, name in enumerate(names):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_image(24, 32, index)).save(
            path, Image.registered_extensions().get(path.suffix.lower(), "JPEG")
        )
    return place


def masks_of(photos, masks):
    return {
        s.name: s.mask and s.mask.removeprefix(f"{masks}/") for s in ImageFolder(photos, masks) if isinstance(s, Source)
    }


def boxes(tmp_path, record):
    (tmp_path / "boxes.json").write_text(json.dumps(record), encoding="utf-8")
    return read_boxes_file(tmp_path / "boxes.json")


def test_masks_have_any_image_ending_in_any_case(tmp_path):
    endings = ["png", "PNG", "jpg", "JPG", "jpeg", "tiff", "tif", "gif", "avif", "webp", "bmp", "tga", "jfif"]
    photos = put(tmp_path / "photos", *(f"{n}.png" for n in range(len(endings))))
    masks = put(tmp_path / "masks", *(f"{n}.{ending}" for n, ending in enumerate(endings)))
    assert masks_of(photos, masks) == {f"{n}.png": f"{n}.{ending}" for n, ending in enumerate(endings)}


def test_masks_are_found_in_subfolders_and_under_other_spellings(tmp_path):
    cafe, ete = (unicodedata.normalize("NFC", name) for name in ("café", "Été"))
    mac = [unicodedata.normalize("NFD", name) for name in (cafe, ete)]
    photos = put(tmp_path / "photos", f"{cafe}.jpg", f"sub/{mac[1]}.jpg", "Trip/IMG_1.JPG", "Trip/other.jpg")
    masks = put(tmp_path / "masks", f"{mac[0]}.png", f"sub/{ete}.png", "trip/img_1.png", "other.png")
    assert masks_of(photos, masks) == {
        f"{cafe}.jpg": f"{mac[0]}.png",
        f"sub/{mac[1]}.jpg": f"sub/{ete}.png",
        "Trip/IMG_1.JPG": "trip/img_1.png",
        "Trip/other.jpg": "",
    }


def test_the_exact_spelling_goes_before_others_and_doubt_is_named(tmp_path):
    photos = put(tmp_path / "photos", "a.jpg", "A.jpg", "b.jpg")
    masks = put(tmp_path / "masks", "a.png", "A.tif", "a.webp", "B.png", "b.PNG")
    assert masks_of(photos, masks) == {"a.jpg": "a.png", "A.jpg": "A.tif", "b.jpg": "b.PNG"}
    (masks / "b.PNG").unlink()
    put(masks, "ß.png", "ss.png")
    put(photos, "SS.jpg")
    found = dict(source for source in ImageFolder(photos, masks) if isinstance(source, tuple))
    assert found == {"SS.jpg": "its mask: ss.png and ß.png differ in spelling alone; which is it?"}


def test_what_has_no_mask_and_masks_of_nothing_are_named(tmp_path):
    photos = put(tmp_path / "photos", "a.jpg", "b.jpg", "sub/c.jpg")
    masks = put(tmp_path / "masks", "a.png", "sub/d.png", "a.tif")
    coverage = ImageFolder(photos, masks, boxes(tmp_path, {"b.jpg": BOX, "e.jpg": BOX})).coverage()
    assert (coverage.images, coverage.masked, coverage.boxed, coverage.neither) == (3, 1, 1, ("sub/c.jpg",))
    assert coverage.unused_masks == ("a.tif", "sub/d.png") and coverage.unused_boxes == ("e.jpg",)
    assert str(coverage) == (
        "3 images: 1 with a mask, 1 with boxes, 1 with neither: sub/c.jpg.\n"
        "2 masks match no image: a.tif, sub/d.png.\n"
        "1 name in the boxes file matches no image, or several: e.jpg."
    )
    assert ImageFolder(photos).coverage() is None


@pytest.mark.parametrize("name", ["sub/b.png", "sub\\b.png", "./sub/b.png", "Sub/B.PNG", "sub/b", "sub\\b"])
def test_boxes_find_their_picture_under_any_spelling(tmp_path, name):
    photos = put(tmp_path / "photos", "a.png", "sub/b.png")
    folder = ImageFolder(photos, boxes=boxes(tmp_path, {name: BOX}))
    assert {source.name: source.boxes for source in folder} == {"a.png": (), "sub/b.png": SPOT}
    assert folder.coverage().unused_boxes == ()


def test_boxes_of_composed_and_decomposed_names(tmp_path):
    names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for name, other in (names, names[::-1]):
        photos = put(tmp_path / ascii(name).strip("'").replace("\\", ""), name)
        (source,) = ImageFolder(photos, boxes=boxes(tmp_path, {other: BOX}))
        assert source.boxes == SPOT


def test_boxes_in_doubt_are_of_no_picture(tmp_path):
    photos = put(tmp_path / "photos", "a.png", "a.jpg", "b.png")
    folder = ImageFolder(photos, boxes=boxes(tmp_path, {"a": BOX, "B.png": BOX, "b.png": [], "photos/b.png": BOX}))
    assert {source.name: source.boxes for source in folder} == {"a.jpg": (), "a.png": (), "b.png": ()}
    assert set(folder.coverage().unused_boxes) == {"a", "B.png", "photos/b.png"}


@pytest.mark.parametrize(
    ("spots", "why"),
    [
        ([{"box": [0.5, 0.1, 0.2, 0.3]}], "is not a box within the image"),
        ([{"box": [0.1, 0.5, 0.2, 0.3]}], "is not a box within the image"),
        ([{"box": [0.2, 0.2, 0.2, 0.3]}], "is not a box within the image"),
        ([{"box": [1.1, 0.2, 1.4, 0.3]}], "is not a box within the image"),
        ([{"box": [10, 20, 200, 300]}], "in pixels; divide"),
        ([{"box": [0.1, 0.2, 0.3]}], "four numbers"),
        ([{"box": [0.1, 0.2, 0.3, None]}], "four numbers"),
        ([{"box": ["0.1", 0.2, 0.3, 0.4]}], "four numbers"),
        ([{"box": [0, 0, True, 1]}], "four numbers"),
        ([{"box": [0, 0, float("nan"), 1]}], "four numbers"),
        ([{"box": [0, 0, 10**400, 1]}], "four numbers"),
        ([{"box": None}], "four numbers"),
        ([{"place": "the sign"}], "four numbers"),
        ([[0.1, 0.2, 0.3, 0.4]], "a list of boxes"),
        ({"box": [0.1, 0.2, 0.3, 0.4]}, "a list of boxes"),
        ([{"box": [0, 0, 1, 1], "place": 3}], "expected text for place and hidden"),
        ([{"box": [0, 0, 1, 1], "place": "a hat \ud83d"}], "half a character"),
    ],
)
def test_boxes_that_are_none_are_said_by_name(tmp_path, spots, why):
    with pytest.raises(RethinkError, match=rf"^boxes: .*boxes\.json: my photo\.jpg: .*{why}"):
        boxes(tmp_path, {"my photo.jpg": spots})


def test_a_boxes_file_may_be_in_utf16_and_loses_none(tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": BOX}), encoding="utf-16")
    assert read_boxes_file(tmp_path / "boxes.json") == {"a.png": SPOT}
    (tmp_path / "boxes.json").write_text(f'{{"a.png": {json.dumps(BOX)}, "a.png": {json.dumps(BOX)}}}')
    with pytest.raises(RethinkError, match=r"“a\.png” appears twice"):
        read_boxes_file(tmp_path / "boxes.json")


def test_what_sticks_out_of_a_picture_is_cut_off(tmp_path):
    assert boxes(tmp_path, {"a": [{"box": [-0.1, 0.5, 1.001, 1]}]})["a"][0].box == (0, 0.5, 1, 1)


@pytest.mark.parametrize("text", ["[" * 100000, "[]", "{", "\udc80"])
def test_a_boxes_file_that_is_none_is_said(tmp_path, text):
    (tmp_path / "boxes.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RethinkError, match="^boxes: .*boxes.json"):
        read_boxes_file(tmp_path / "boxes.json")


def test_pictures_under_every_ending_are_worked_on_and_others_named(tmp_path):
    photos = put(
        tmp_path / "photos",
        *(f"{ending}.{ending}" for ending in ["png", "jfif", "jpe", "JPG", "tga", "dib", "tif", "webp", "avif"]),
    )
    for name in ("raw.CR2", "layers.psd"):
        (photos / name).write_bytes(b"anything")
    (photos / "notes.txt").write_text("none of these")
    found = list(ImageFolder(photos))
    assert [source.name for source in found if isinstance(source, Source)] == sorted(
        f"{ending}.{ending}" for ending in ["png", "jfif", "jpe", "JPG", "tga", "dib", "tif", "webp", "avif"]
    )
    assert [source for source in found if isinstance(source, tuple)] == [
        ("layers.psd", "its format is not read here; save it as a PNG"),
        ("raw.CR2", "its format is not read here; save it as a PNG"),
    ]


def test_a_masks_folder_within_is_not_worked_on_and_the_same_one_is_refused(tmp_path):
    photos = put(tmp_path / "photos", "a.png", "masks/a.png", "sub/masks.png")
    assert [source.name for source in ImageFolder(photos, photos / "masks")] == ["a.png", "sub/masks.png"]
    with pytest.raises(RethinkError, match="masks: .* is the image folder itself"):
        ImageFolder(photos, photos)


def test_a_large_folder_is_told_in_one_line(tmp_path):
    photos = put(tmp_path / "photos", *(f"{n:02}.png" for n in range(30)))
    (tmp_path / "masks").mkdir()
    assert str(ImageFolder(photos, tmp_path / "masks").coverage()).endswith("18.png, 19.png and 10 more.")


def test_a_mask_is_white_where_it_selects(tmp_path):
    """The way of a mask through a run: a cut-out under another ending and spelling holds the damage."""
    from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
    from rethink.pairs.inverse.synthesis import synthesize
    from rethink.pairs.store import PairStore

    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for folder in (photos, masks):
        folder.mkdir()
    Image.fromarray(draw_image()).save(photos / "Photo.jpeg", quality=95)
    cut = np.zeros((120, 160, 4), np.uint8)
    cut[10:50, 10:50] = 255
    Image.fromarray(cut).save(masks / "photo.TIFF")
    with PairStore(tmp_path / "store").writing() as store:
        synthesize(store, ImageFolder(photos, masks), operation_maker(store, SynthesisConfig(("blur",))), 1)
    (pair,) = store
    region = store.read_image(pair.region)[..., 0] > 127
    assert region.any() and not region[52:].any() and not region[:, 52:].any()
