"""Names of folders, and files that the front end names."""

import pytest

from rethink.names import is_portable


@pytest.fixture
def folders(part):
    return part("nodes.comfy.folders")


@pytest.mark.parametrize(
    "prefix", ["rethink/run", "a\\b", " run ", "./run", "犬/🔵", "a" + "/" * 4000 + "b", "%year%/run", "run/"]
)
def test_a_prefix_makes_a_folder_within_output_that_every_system_can_open(folders, results, prefix):
    folder = folders.next_output_folder(prefix)
    assert folder.is_relative_to(results.output) and folder.parent.is_dir() and not folder.exists()
    assert all(is_portable(part) for part in folder.relative_to(results.output).parts)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        " ",
        ".",
        "/",
        "CON",
        "con/run",
        "a/nul.txt",
        "a:b",
        "C:\\run",
        "run.",
        "a./b",
        ".hidden",
        "a/.b",
        "a\0b",
        "a\nb",
        "\ud83d",
        "x" * 300,
        "a/" * 2000 + "b",
        "a<b>",
        'a"b',
        "a|b",
        "a?",
        "a\u202eb",
    ],
)
def test_a_prefix_that_some_system_cannot_open_is_refused_and_leaves_nothing(folders, results, RethinkError, prefix):
    with pytest.raises(RethinkError, match="^prefix: “.*” (is not a valid folder name|leads out)") as refused:
        folders.next_output_folder(prefix)
    assert (
        len(str(refused.value)) < 200
        and len(str(refused.value).splitlines()) == 1
        and not list(results.output.iterdir())
    )


@pytest.mark.parametrize("prefix", ["..", "../run", "a/../../run", "..\\run", "/tmp/run"])
def test_a_prefix_that_leads_out_is_refused(folders, results, RethinkError, prefix):
    with pytest.raises(RethinkError, match="leads out of ComfyUI's output folder"):
        folders.next_output_folder(prefix)


def test_a_prefix_through_a_link_or_a_file_is_refused(folders, results, RethinkError, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (results.output / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(RethinkError, match="link that leads out"):
        folders.next_output_folder("link/run")
    (results.output / "file").write_text("")
    with pytest.raises(RethinkError, match="^prefix: “file/run” cannot be created"):
        folders.next_output_folder("file/run")


@pytest.mark.parametrize("name", ["", "..", "CON", "a:b", "a.", ".a", "a\0", "\ud83d", "x" * 300, "/a"])
def test_a_data_set_has_a_name_by_the_same_rule(folders, models, RethinkError, name):
    with pytest.raises(RethinkError, match="^name: “.*” is not a valid name for a folder"):
        folders.dataset_path(name, "name")


def test_a_data_set_that_is_offered_can_be_opened_whatever_its_name(folders, models):
    odd = models.datasets / "what is this?"
    odd.mkdir()
    (odd / "manifest.jsonl").write_text("")
    assert folders.dataset_names() == [odd.name] and folders.dataset_path(odd.name, "dataset") == odd


def test_a_reference_names_a_file_of_ours_and_nothing_else(folders, results, RethinkError, tmp_path):
    (results.output / "run").mkdir()
    (tmp_path / "outside").mkdir()
    (results.output / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    good = {"type": "output", "subfolder": "run", "filename": "trajectory.json"}
    assert folders.from_view_params(good) == results.output / "run" / "trajectory.json"
    climbing = ("..", "../..", "/etc", "link", "run/../..", "a\0", "\ud83d", "/" * 4000 + "etc")
    climbing += ("\\\\server\\share", "//server/share", "D:elsewhere", "D:\\elsewhere")
    wrong = [{"subfolder": text} for text in climbing]
    wrong += [{"filename": name} for name in (".", "..", "", "a/b", "../x", "/etc/passwd", "a\0", "\ud83d")]
    wrong += [{"type": kind} for kind in ("models", "", "outputs", None, 3, ["output"])]
    for change in wrong:
        with pytest.raises(RethinkError, match="^trajectory: "):
            folders.from_view_params(good | change)
    for none in (None, 3, "run", [], {}, {"type": "output"}):
        with pytest.raises(RethinkError, match="^trajectory: expected"):
            folders.from_view_params(none)
