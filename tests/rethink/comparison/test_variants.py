"""Who takes part: what is combined, and what tells one from another."""

from dataclasses import replace

import pytest

from rethink.benchmarking.editing import EditSetup
from rethink.comparison import variants
from rethink.comparison.variants import EditorChoice, LoraChoice, VariantPlan, check_variants, saves_of, variant_of
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from tests.support.comparisons import Brush, variant


@pytest.fixture
def files(tmp_path):
    for name in ("base", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
    for name in ("snow", "frost"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    return tmp_path


def plan(files, **more):
    editors = (EditorChoice("base", files / "base"), EditorChoice("other", files / "other", Settings(steps=4)))
    return VariantPlan(editors, **more)


def test_every_editor_with_every_lora_at_every_strength(files):
    loras = (LoraChoice(files / "snow.safetensors"), LoraChoice(files / "frost.safetensors", 0.7))
    names = [each.name for each in plan(files, compared=loras).variants()]
    assert names[:3] == ["base", "base + snow × 1", "base + frost × 0.7"] and len(names) == 6
    names = [each.name for each in plan(files, compared=loras[:1], strengths=(0.5, 1.0), baseline=False).variants()]
    assert names == ["base + snow × 0.5", "base + snow × 1", "other + snow × 0.5", "other + snow × 1"]


def test_an_editor_is_loaded_once_for_all_its_variants(files, monkeypatch):
    loaded, added = [], []
    monkeypatch.setattr("rethink.editors.loading.load_editor", lambda path, **_: loaded.append(path.name) or path.name)
    monkeypatch.setattr("rethink.editors.loading.add_lora", lambda editor, file, strength: (added.append(editor), None))
    monkeypatch.setattr(variants, "EditSetup", lambda *arguments: arguments)
    for each in plan(files, compared=(LoraChoice(files / "snow.safetensors"),)).variants():
        each.open()
    assert loaded == ["base", "other"] and added == ["base", "other"]


def test_another_file_or_setting_is_another_variant(files):
    before = {each.name: each.key for each in plan(files).variants()}
    assert {each.name: each.key for each in plan(files).variants()} == before
    (files / "base" / "model.safetensors").write_bytes(b"longer than before")
    after = {each.name: each.key for each in plan(files).variants()}
    assert after["base"] != before["base"] and after["other"] == before["other"]
    other = plan(files)
    other = replace(other, editors=(other.editors[0], replace(other.editors[1], settings=Settings(steps=5))))
    assert other.variants()[1].key != after["other"]


def test_what_cannot_be_compared_is_said(files):
    for call, why in (
        (lambda: check_variants([]), "takes two or more, got none"),
        (lambda: check_variants([variant("one")]), "got only “one”"),
        (lambda: check_variants([variant("one"), variant("one")]), "two are called “one”"),
        (
            lambda: check_variants([replace(variant("one"), name="a"), replace(variant("one"), name="b")]),
            "“b” is identical to “a”",
        ),
        (lambda: plan(files, strengths=(1.0,)).variants(), "strengths: there is no LoRA"),
        (
            lambda: plan(files, compared=(LoraChoice(files / "gone.safetensors"),)).variants(),
            "gone.safetensors cannot be read",
        ),
        (lambda: saves_of(files), "checkpoints: .* has no training.json"),
    ):
        with pytest.raises(RethinkError, match=why):
            call()


def test_the_saves_of_a_training(files, monkeypatch):
    (files / "saves").mkdir()
    (files / "saves/a.safetensors").write_bytes(b"")
    save = type("Save", (), {"step": 50, "file": "saves/a.safetensors"})
    gone = type("Save", (), {"step": 90, "file": "saves/gone.safetensors"})
    record = type("Record", (), {"saves": (save, gone)})
    monkeypatch.setattr(variants.LoraRun, "read_record", lambda self: record)
    assert [each.label for each in saves_of(files)] == ["step 50 × 1"]
    record.saves = (gone,)
    with pytest.raises(RethinkError, match="has no checkpoints left"):
        saves_of(files)


def test_an_editor_that_is_loaded_already():
    setup = EditSetup(Brush("one"))
    mine = variant_of(setup)
    assert mine.open() is setup and mine.name == "one" and variant_of(setup, "other").name == "other"
    assert variant_of(setup, "other").key != mine.key, "what is told apart by name alone"
    setup.editor.lora_files = ("another file of the same name",)
    assert variant_of(setup).key != mine.key
