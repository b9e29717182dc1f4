"""Previews by another editor than the one that learns: by what was distilled from it, above all."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rethink.errors import RethinkError
from rethink.images import load_image
from rethink.training.edit_model import EditModel
from rethink.training.lora_run import LoraRun
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, write_pairs

FEW = {"steps": 2, "save_every": 1, "batch": 2, "previews": 1, "learning_rate": 5e-2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("editors")


@pytest.fixture(scope="module")
def store(root):
    return write_pairs(root / "pairs", 6)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    editor_miniatures.shrink(monkeypatch)


@pytest.fixture(scope="module")
def base(root):
    return few_steps(editor_miniatures.opened("flux2_klein", root))


@pytest.fixture(scope="module")
def distilled(root):
    """Of the same layers, but with weights of its own."""
    editor = few_steps(editor_miniatures.opened("flux2_klein_distilled", root))
    with torch.no_grad():
        for weight in editor.module["transformer"].parameters():
            weight.mul_(1.1)
    return editor


def few_steps(editor):
    editor.defaults = replace(editor.defaults, steps=1)
    return editor


def with_previews_of(job, editor, **options):
    return replace(job, preview_editor=editor, **options)


def test_the_distilled_editor_shows_what_its_base_learns(base, distilled, store, tmp_path):
    plain = make_job(tmp_path / "plain", store, **FEW).run(base)
    job = make_job(tmp_path / "other", store, **FEW)
    report = with_previews_of(job, distilled).run(base)
    assert report.folder.name == plain.folder.name, "it is the same run"
    files = [
        load_file(each.output.parent / each.folder / "saves" / "step-000002.safetensors") for each in (plain, report)
    ]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert [save.held_out for save in report.record.saves] == [save.held_out for save in plain.record.saves]
    assert {save.preview_editor for save in report.record.saves} == {distilled.name}
    assert {save.preview_editor for save in plain.record.saves} == {""}
    [pair], newest = report.record.preview_pairs, report.record.saves[-1]
    changed = distilled.with_lora(report.folder / newest.file, 1.0)[0]
    source = load_image(report.folder / pair.input)
    for editor, file in ((distilled, pair.base), (changed, newest.previews[0])):
        edit = editor.edit(editor.prepare(source), [pair.instruction], [0])
        assert torch.allclose(edit, load_image(report.folder / file), atol=1 / 255)
    assert f"The previews were made by {distilled.name}." in str(report) and "The previews were" not in str(plain)
    assert f"by {distilled.name}" in (report.folder / "report.html").read_text(encoding="utf-8")
    assert LoraRun(report.folder).read_record().preview_editors == distilled.name


def test_a_run_goes_on_with_another_editor_of_the_previews(base, distilled, store, tmp_path):
    job = make_job(tmp_path, store, **FEW)
    first = with_previews_of(job, distilled).run(base)
    longer = replace(job, settings=replace(job.settings, steps=3))
    second = longer.run(base)
    assert second.folder == first.folder and second.record.losses[:2] == first.record.losses
    assert [save.preview_editor for save in second.record.saves] == [distilled.name, distilled.name, ""]
    assert second.record.preview_editors == f"{distilled.name}, {base.name}"
    alone = [load_image(first.folder / report.record.preview_pairs[0].base) for report in (first, second)]
    assert not torch.allclose(*alone, atol=0.02)
    assert second.record.preview_pairs[0].base != first.record.preview_pairs[0].base


def test_a_run_that_is_done_says_that_its_previews_are_not_made_anew(base, distilled, store, tmp_path):
    job = make_job(tmp_path, store, **FEW)
    first = job.run(base)
    assert not first.note and not job.run(base).note
    again = with_previews_of(job, distilled).run(base)
    assert again.record.saves == first.record.saves
    assert str(again).endswith(
        f"stay as they are; train more steps or choose another seed to have {distilled.name} make them."
    )
    assert not with_previews_of(replace(job, settings=replace(job.settings, steps=3)), distilled).run(base).note


def test_pairs_with_references_are_edited_with_them_and_trained_at_a_smaller_size(
    base, distilled, tmp_path, monkeypatch
):
    """A preview has the references at the size that the editor works at, whatever it is trained at."""
    store, seen, edit = write_pairs(tmp_path / "pairs", 6, references=(2,)), [], type(distilled).edit

    def remember(self, prepared, *all, **more):
        seen.append((self.name, [image.size for image in prepared.encoded.images[0]]))
        return edit(self, prepared, *all, **more)

    monkeypatch.setattr(type(distilled), "edit", remember)
    sizes = {}
    for name, megapixels in (("whole", 0.0), ("small", 32**2 / 2**20)):
        seen.clear()
        job = make_job(tmp_path / name, store, **FEW, megapixels=megapixels)
        record = with_previews_of(job, distilled).run(base).record
        assert {editor for editor, _ in seen} == {distilled.name} and len(record.preview_pairs[0].references) == 2
        sizes[name] = [size for _, size in seen]
    assert sizes["whole"] == sizes["small"] and len(sizes["whole"][0]) == 3


def test_another_editor_of_the_same_name_makes_what_it_makes_anew(base, distilled, store, root, tmp_path):
    job = make_job(tmp_path, store, **FEW)
    same_name = few_steps(editor_miniatures.opened("flux2_klein", root))
    found = []
    for editor in (same_name, distilled):
        distilled.name, steps = same_name.name, 2 + len(found)
        report = with_previews_of(replace(job, settings=replace(job.settings, steps=steps)), editor).run(base)
        found.append(load_image(report.folder / report.record.preview_pairs[0].base))
        assert report.record.saves[-1].preview_editor == "flux2_klein (preview_editor)"
    distilled.name = "flux2_klein_distilled"
    assert not torch.allclose(*found, atol=0.02)


@pytest.mark.parametrize("kind", ["flux_kontext", "narrow"])
def test_an_editor_that_the_lora_does_not_fit_is_refused_before_any_work(base, kind, store, root, tmp_path):
    if kind == "narrow":
        other = editor_miniatures.opened("flux2_klein_distilled", root)
        blocks = other.module["transformer"].single_transformer_blocks
        blocks[0].attn.to_out = torch.nn.Linear(blocks[0].attn.to_out.in_features, 8)
        message = (
            "^preview_editor: what flux2_klein learns does not fit .* choose a version of FLUX.2 Klein that is as large"
        )
    else:
        other, message = (
            editor_miniatures.opened(kind, root),
            "^preview_editor: flux_kontext is of another family, FLUX.1 Kontext; choose",
        )
    with pytest.raises(RethinkError, match=message):
        with_previews_of(make_job(tmp_path, store, **FEW), other).run(base)
    assert not list(tmp_path.iterdir())


def test_an_editor_that_lacks_some_of_the_layers_is_refused(base, store, root, tmp_path):
    other = editor_miniatures.opened("flux2_klein_distilled", root)
    blocks = other.module["transformer"].single_transformer_blocks
    del blocks[0].attn.to_out
    with pytest.raises(
        RethinkError, match=r"^preview_editor: \d+ of \d+ layers fit flux2_klein_distilled; choose a version"
    ):
        with_previews_of(make_job(tmp_path, store, **FEW), other).run(base)


def test_the_device_is_left_to_it_while_it_edits_and_only_then(base, distilled, store, tmp_path, monkeypatch):
    where, edit = [], type(distilled).edit

    @contextmanager
    def making_room():
        where.append("in")
        yield
        where.append("out")

    monkeypatch.setattr(type(distilled), "edit", lambda *all, **more: where.append("edit") or edit(*all, **more))
    job = with_previews_of(make_job(tmp_path, store, **FEW), distilled, making_room=making_room)
    job.run(base)
    assert where == ["in", "edit", "edit", "out", "in", "edit", "out"]
    where.clear()
    replace(job, settings=replace(job.settings, previews=0, seed=3)).run(base)
    assert where == [], "nothing is moved for nothing"


class Part(torch.nn.Linear):
    """As it would be on a card."""

    def __init__(self):
        super().__init__(1, 1)
        self.moves = []

    def to(self, device):
        self.moves.append(str(device))
        return self


def test_what_learns_waits_in_main_memory_and_comes_back(base, monkeypatch):
    model, parts = EditModel(base), [Part(), Part()]
    monkeypatch.setattr("rethink.training.edit_model._is_movable", lambda part, device: part is parts[0])
    model.editor = type("Editor", (), {"device": torch.device("meta"), "module": torch.nn.ModuleList(parts)})()
    with pytest.raises(KeyboardInterrupt), model.waiting():
        assert parts[0].moves == ["cpu"]
        raise KeyboardInterrupt
    assert parts[0].moves == ["cpu", "meta"] and parts[1].moves == []
