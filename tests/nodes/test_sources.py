"""Where images come from: of a synthesis what is connected, or a folder; of anything else a folder with instructions."""

import pytest
import torch


def test_a_list_of_pictures_of_any_sizes_is_one_set_of_pairs(synthesize, photo):
    pictures = [photo, torch.rand(2, 40, 40, 3)]
    pairs, _ = synthesize(image=pictures, pairs=1)
    assert len(pairs.subset) == 3
    assert len(synthesize(image=[photo, photo], pairs=1)[0].subset) == 1  # a picture that comes twice is one


def test_a_folder_is_read_file_by_file_and_broken_files_are_skipped(synthesize, photo, results, part, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    save, photos = part("rethink.images").save_image, results.input / "photos"
    photos.mkdir()
    for index in range(3):
        save(photo.roll(index, 2), photos / f"a picture {index}.png")
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    pairs, report = synthesize(folder="input/photos", image=[], pairs=1)
    assert len(pairs.subset) == 3 and report.startswith("3 pairs, 3 made now; 1 skipped.\n1 × cannot be read")
    assert {pair.source for pair in pairs} == {f"a picture {index}.png" for index in range(3)}


def test_the_report_counts_masks_and_boxes_and_names_what_was_not_used(classes, results, models, part):
    save, photos = part("rethink.images").save_image, results.input / "photos"
    masks = results.input / "masks"
    for folder in (photos, masks):
        folder.mkdir()
    for name in ("a", "b"):
        save(torch.rand(1, 48, 64, 3), photos / f"{name}.png")
    white = torch.zeros(1, 48, 64, 3)
    white[:, 10:30, 10:30] = 1
    for name in ("A.png", "c.png"):
        save(white, masks / name)
    pictures = {"pictures": ["folder"], "folder": ["input/photos"], "masks": ["input/masks"]}
    _, report = (
        classes["RethinkInverseEditSynthesizer"]
        .execute({"operation": ["blur"]}, pictures, dataset=["pairs"], pairs=[1], seed=[7])
        .result
    )
    assert "2 images: 1 with a mask, 0 with boxes, 1 with neither: b.png." in report
    assert "1 mask matches no image: c.png." in report


def test_one_empty_mask_of_several_leaves_out_its_picture(synthesize, photo):
    batch = torch.cat([photo, photo.flip(1)])
    mask = torch.zeros(2, 48, 64)
    mask[1, 10:30, 10:30] = 1
    pairs, report = synthesize("blur", image=batch, mask=mask, pairs=1)
    assert len(list(pairs)) == 1 and "its mask is empty" in report


def test_an_empty_folder_is_said_to_be_empty(synthesize, results, RethinkError):
    (results.input / "none").mkdir()
    with pytest.raises(RethinkError, match="^pictures.folder: .*none holds no images; add some"):
        synthesize(folder="input/none")


def test_what_must_be_connected_is_said(part, RethinkError, results):
    sources_of = part("nodes.sources").sources_of
    connected, images = {"pictures": ["connected pictures"]}, [torch.rand(1, 8, 8, 3)] * 3
    with pytest.raises(RethinkError, match="^image: connect"):
        sources_of(connected, [None], [None], [None])
    for name, mask, boxes in (("mask", [None] * 2, [None]), ("boxes", [None], [None] * 2)):
        with pytest.raises(RethinkError, match=f"^{name}: a list of 3 .* needs 1 or 3, got 2"):
            sources_of(connected, images, mask, boxes)


def test_the_fingerprint_changes_with_the_files_of_the_folders_alone(part, results):
    fingerprint, photos = part("nodes.sources").fingerprint, results.input / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(b"1")
    chosen = {"pictures": ["folder"], "folder": ["input/photos"], "masks": ["none"]}
    before = fingerprint(chosen)
    assert before == fingerprint(chosen) and fingerprint({"pictures": ["connected pictures"]}) is None
    (photos / "b.png").write_bytes(b"22")
    assert fingerprint(chosen) != before


@pytest.fixture
def photos(results, part):
    """A folder of two images of different sizes, each with its instruction."""
    folder = results.input / "photos"
    folder.mkdir()
    for name, side in (("b", 24), ("a", 16)):
        part("rethink.images").save_image(torch.full((1, side, side, 3), 0.5), folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"make {name} red\n", encoding="utf-8")
    return folder


def test_images_with_instructions_are_two_lists_by_name(classes, photos):
    images, instructions = classes["RethinkLoadInstructedImages"].execute("input/photos").result
    assert [image.shape for image in images] == [(1, 16, 16, 3), (1, 24, 24, 3)]
    assert instructions == ["make a red", "make b red"]


def test_an_instruction_that_was_changed_is_read_again(classes, photos):
    node = classes["RethinkLoadInstructedImages"]
    before = node.fingerprint_inputs("input/photos")
    (photos / "a.txt").write_text("make it dark blue", encoding="utf-8")
    assert node.fingerprint_inputs("input/photos") != before


def test_what_is_missing_in_the_folder_is_said_of_the_folder(classes, photos, RethinkError):
    node = classes["RethinkLoadInstructedImages"]
    (photos / "a.txt").unlink()
    with pytest.raises(RethinkError, match="^folder: 1 of 2 in .*photos have no instruction: a.png; write each into"):
        node.execute("input/photos")
    with pytest.raises(RethinkError, match="^folder: there is no “../photos”; put the folder into"):
        node.execute("../photos")
