"""Every family that its diffusers pipeline samples, on miniatures with random weights."""

import gc
import json
import shutil
import weakref
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch

from rethink.editors import encoder_cache
from rethink.editors.families import FAMILIES
from rethink.editors.loading import load_editor
from rethink.editors.pipeline_editor import PipelineEditor
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.images import to_pil
from tests.support import editor_miniatures as miniatures
from tests.support.editor_miniatures import count_encodes
from tests.support.family_miniatures import MINIATURES, SIDE

FEW = Settings(steps=2)
SEES_REFERENCES = [
    kind
    for kind, (_, class_name) in MINIATURES.items()
    if any(class_name in family.pipelines and family.references for family in FAMILIES)
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    miniatures.shrink(monkeypatch)


@pytest.fixture(params=MINIATURES)
def kind(request):
    return miniatures.available(request.param)


@pytest.fixture
def editor(kind, editor_of):
    return editor_of(kind)


@pytest.fixture(scope="module")
def plain_pipeline(kinds_root):
    """plain_pipeline(kind) → the pipeline that no editor has touched, loaded once."""
    return cache(lambda kind: miniatures.opened(kind, kinds_root)._pipeline)


@pytest.fixture
def folder(kind, kinds_root, editor_of, tmp_path):
    """A copy of a miniature's folder to break."""
    editor_of(kind)
    return Path(shutil.copytree(kinds_root / kind, tmp_path / "half"))


def pictures(*shape, seed=7):
    return (torch.rand(*shape, 3, generator=torch.Generator().manual_seed(seed)) * 255).round() / 255


def edit(editor, images, instruction="make it red", seed=1, settings=FEW, references=(), **options):
    prepared = editor.prepare(images, references)
    return editor.edit(prepared, [instruction] * len(images), [seed] * len(images), settings, **options)


def is_gone(reference):
    """Whether nothing holds on to it but perhaps a circle; to look for those takes longer than an edit."""
    return reference() is None or (gc.collect() >= 0 and reference() is None)


# ── the same as the plain pipelines ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("instruction, seed", [("make it red", 3), ("别动", 2**63 + 1)])
def test_equals_the_plain_pipeline_bit_for_bit(editor, kind, plain_pipeline, instruction, seed):
    plain = plain_pipeline(kind)
    scale = {"text_guidance": 3.0} | ({"image_guidance": 1.5} if editor.family.engine.image_scale else {})
    source = pictures(1, SIDE, SIDE)
    call = editor.family.engine
    arguments = {**call.image_arguments(to_pil(source), (SIDE, SIDE)), call.text_scale: 3.0}
    if call.image_scale:
        arguments[call.image_scale] = 1.5
    if editor.defaults.strength:
        arguments["strength"] = 0.7
    if call.takes_negative_prompt:
        arguments["negative_prompt"] = "blue"
    torch.manual_seed(seed % 2**64)
    expected = plain(
        prompt=instruction,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(seed % 2**64),
        output_type="pt",
        return_dict=False,
        **arguments,
    )[0].movedim(1, -1)
    strength = 0.7 if editor.defaults.strength else 0.0
    settings = Settings(
        steps=3, strength=strength, negative_prompt="blue" if call.takes_negative_prompt else "", **scale
    )
    ours = edit(editor, source, instruction, seed, settings)
    assert torch.equal(ours, expected)
    assert ours.std() > 0.01


def test_the_guidances_and_the_negative_arrive(editor, kind):
    source = pictures(1, SIDE, SIDE)
    before = edit(editor, source)
    if kind != "flux2_klein_distilled":  # which has no guidance
        assert not torch.equal(before, edit(editor, source, settings=Settings(steps=2, text_guidance=9.0)))
    if editor.family.engine.image_scale:
        assert not torch.equal(before, edit(editor, source, settings=Settings(steps=2, image_guidance=3.0)))
    randomized = [edit(editor, source, settings=Settings(steps=2, randomize_guidance=True)) for _ in range(2)]
    assert torch.equal(*randomized)
    negative = Settings(steps=2, negative_prompt="blue")
    if not editor.family.takes_negative_prompt:
        with pytest.raises(RethinkError, match="^negative: .* takes no negative"):
            edit(editor, source, settings=negative)
    else:
        assert not torch.equal(before, edit(editor, source, settings=negative))


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_does_not_depend_on_the_others(editor):
    images = torch.cat([pictures(1, 40, 60, seed=1), pictures(1, 40, 60, seed=2)])
    batch = editor.edit(editor.prepare(images), list("abab"), [1, 2, 3, 2**64 - 1], FEW)
    assert batch.shape == (4, 40, 60, 3)
    for row, letter, seed in ((1, "b", 2), (3, "b", 2**64 - 1)):
        assert torch.equal(batch[row], edit(editor, images[row // 2][None], letter, seed)[0])
    assert not torch.equal(batch[0], batch[2])


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (700, 20), (90, 160)])
def test_the_source_size_comes_back(editor, size):
    edited = edit(editor, pictures(1, *size))
    assert edited.shape == (1, *size, 3) and edited.dtype == torch.float32
    assert edited.min() >= 0 and edited.max() <= 1


@pytest.mark.parametrize("size", [(64, 64), (100, 100), (77, 133), (133, 77), (1000, 30), (30, 1000), (1, 1)])
def test_the_working_size_is_left_alone_by_the_pipeline_and_nothing_is_stretched(editor, kind, size):
    plan = editor.prepare(pictures(1, *size)).encoded.plan
    assert editor.family.engine.size(editor._pipeline, *plan.padded, 0) == plan.padded
    across, down = plan.scaled[1] / size[1], plan.scaled[0] / size[0]
    assert min(size) * min(across, down) < 4 or across == pytest.approx(down, rel=0.05)
    assert plan.padded[0] * plan.padded[1] <= 1.6 * SIDE * SIDE


# ── encoded once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_later_instructions_skip_the_encoders(editor, monkeypatch):
    calls = count_encodes(editor, monkeypatch.setattr)
    source = pictures(1, SIDE, SIDE)
    edit(editor, source)
    first = Counter(calls)
    assert first["vae"] == 1
    calls.clear()
    edit(editor, source, seed=2)
    assert not calls, "another seed encodes nothing"
    edit(editor, source, "make it blue")
    assert calls["vae"] == calls["sight"] == 0, "another instruction encodes no picture"
    assert 1 <= calls["text_encoder"] <= first["text_encoder"]
    calls.clear()
    edit(editor, pictures(1, SIDE, SIDE, seed=8))
    assert calls["vae"] == 1


@pytest.mark.parametrize("kind", ["sdedit_flux"])
def test_what_is_remembered_is_bounded(editor, monkeypatch):
    monkeypatch.setattr(encoder_cache, "MAX_ENTRIES", 4)
    source = pictures(1, SIDE, SIDE)
    for number in range(7):
        edit(editor, source, f"number {number}", settings=Settings(steps=1, strength=1.0))
    assert len(editor._encoder_cache._results) == 4


def test_the_picture_may_be_freed(editor):
    images = pictures(1, SIDE, SIDE)
    gone = weakref.ref(images)
    edit(editor, images)
    del images
    assert is_gone(gone)


# ── references ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", SEES_REFERENCES)
def test_references_are_seen(kind, editor_of, monkeypatch):
    editor = editor_of(kind)
    source, others = pictures(1, SIDE, SIDE), [pictures(1, 50, 80, seed=s) for s in (8, 9)]
    alone, one, two = (edit(editor, source, references=others[:n]) for n in range(3))
    assert not torch.equal(alone, one) and not torch.equal(one, two)
    assert two.shape == source.shape
    calls = count_encodes(editor, monkeypatch.setattr)
    edit(editor, source, "make it blue", references=others)
    assert calls["vae"] == 0


def test_too_many_references(editor):
    with pytest.raises(RethinkError, match=rf"^references: got 40 images, but {editor.family.title} takes"):
        editor.prepare(pictures(1, SIDE, SIDE), [pictures(1, 8, 8)] * 40)


def test_references_come_one_by_one(editor_of):
    with pytest.raises(RethinkError, match="^references: .*one by one"):
        editor_of("flux2").prepare(pictures(1, SIDE, SIDE), [pictures(2, 8, 8)])
    with pytest.raises(RethinkError, match="^references: "):
        editor_of("flux2").prepare(pictures(1, SIDE, SIDE), [torch.full((1, 8, 8, 3), float("nan"))])


# ── masks, progress, cancel, memory ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(SIDE, SIDE), (50, 70)])
def test_outside_the_mask_nothing_changes(editor, size):
    images = torch.cat([pictures(1, *size, seed=1), pictures(1, *size, seed=2)])
    mask = torch.zeros(*size)
    mask[5:30, 6:31] = 1
    edited = edit(editor, images, mask=mask)
    assert torch.equal(edited[:, mask == 0], images[:, mask == 0])
    assert (edited - images)[:, mask == 1].abs().mean() > 0.01
    assert torch.equal(edit(editor, images, mask=torch.ones(*size)), edit(editor, images))


def test_outside_the_mask_the_latents_are_the_sources(editor, monkeypatch):
    """What the VAE decodes there is what it made of the source, whatever was asked for, so that the seam fits."""
    decoded = []
    vae = editor.module["vae"]
    original = vae.decode
    monkeypatch.setattr(
        vae, "decode", lambda latents, *a, **o: decoded.append(latents[-1:]) or original(latents, *a, **o)
    )
    source, mask = pictures(1, SIDE, SIDE), torch.zeros(SIDE, SIDE)
    mask[:8, :8] = 1
    for instruction in ("make it red", "blue"):
        edit(editor, source, instruction, mask=mask)
    edit(editor, source, "blue")
    first, second, free = (latents[..., latents.shape[-2] // 2 :, latents.shape[-1] // 2 :] for latents in decoded)
    assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(second, free, atol=1e-2)


@pytest.mark.parametrize("size", [(SIDE, SIDE), (40, 100)])
def test_progress_and_preview(editor, size):
    steps = []
    editor.edit(
        editor.prepare(pictures(1, *size)),
        ["red", "blue"],
        [1, 2],
        Settings(steps=4, strength=1.0),
        on_step=lambda *step: steps.append((*step[:2], step[2]())),
    )
    assert [step[:2] for step in steps] == [(i + 1, 8) for i in range(8)]
    preview = steps[-1][2]
    assert preview.shape[0] == 1
    assert preview.ndim == 4 and preview.shape[-1] == 3 and max(preview.shape[1:3]) <= SIDE
    assert preview.shape[1] / preview.shape[2] == pytest.approx(size[0] / size[1], rel=0.35)
    assert preview.min() >= 0 and preview.max() <= 1


class Interrupted(BaseException):
    """As ComfyUI's own: no Exception."""


def test_cancel_ends_the_run_and_leaves_the_editor_usable(editor):
    source = pictures(1, SIDE, SIDE)
    before = edit(editor, source)
    state = dict(vars(editor._pipeline.scheduler)), dict(vars(editor.module["vae"]))

    def cancel(step, total, preview):
        if step == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        edit(editor, source, settings=Settings(steps=6, strength=1.0), on_step=cancel)
    assert state[0].keys() == vars(editor._pipeline.scheduler).keys()
    assert state[1].keys() == vars(editor.module["vae"]).keys()
    assert torch.equal(edit(editor, source), before)


def test_out_of_memory_in_the_middle(editor, monkeypatch):
    source = pictures(1, SIDE, SIDE)
    before = edit(editor, source)

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch, pytest.raises(RethinkError, match="^editor: .* ran out of memory"):
        patch.setattr(editor.module[editor._denoiser], "forward", full)
        edit(editor, source)
    assert torch.equal(edit(editor, source), before)


def test_the_global_random_state_is_left_alone(editor):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    edit(editor, pictures(1, SIDE, SIDE))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", ["instruct_pix2pix_xl", "sdedit_xl"])
def test_other_solvers_where_the_model_takes_them(editor):
    source = pictures(1, SIDE, SIDE)
    own = editor._pipeline.scheduler
    default = edit(editor, source, settings=Settings(steps=4))
    for sampler in ("euler_ancestral", "dpmpp_2m", "ddim"):
        edited = edit(editor, source, settings=Settings(steps=4, sampler=sampler), on_step=lambda *step: step[2]())
        assert torch.isfinite(edited).all() and not torch.equal(edited, default)
    assert editor._pipeline.scheduler is own


@pytest.mark.parametrize("kind", ["flux_kontext", "cosxl_edit"])
def test_models_that_only_their_own_solver_fits(editor):
    with pytest.raises(RethinkError, match="^sampler: .*only works with its own solver"):
        edit(editor, pictures(1, SIDE, SIDE), settings=Settings(steps=2, sampler="ddim"))


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_family_follows_from_the_folder(editor, kind):
    special = {"cosxl_edit": "instruct_pix2pix_xl", "flux2_klein_distilled": "flux2_klein"}
    assert isinstance(editor, PipelineEditor) and editor.family.id == special.get(kind, kind)
    assert editor.device == torch.device("cpu")


def test_special_folders_have_their_own_defaults(editor_of):
    assert editor_of("cosxl_edit").defaults.text_guidance == 7.0
    assert editor_of("cosxl_edit")._pipeline.is_cosxl_edit
    assert not editor_of("instruct_pix2pix_xl")._pipeline.is_cosxl_edit
    assert editor_of("flux2_klein_distilled").defaults.steps == 4
    assert editor_of("flux2_klein").defaults.steps == 50


@pytest.mark.parametrize("plain, kind", [("StableDiffusionXLPipeline", "sdedit_xl"), ("FluxPipeline", "sdedit_flux")])
def test_models_that_were_not_made_for_editing_are_opened_as_sdedit(plain, kind, folder):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": plain}))
    editor = load_editor(folder)
    editor._pipeline.default_sample_size = SIDE // editor._pipeline.vae_scale_factor
    assert editor.family.id == kind and edit(editor, pictures(1, SIDE, SIDE)).std() > 0


def test_half_a_folder(folder):
    for file in sorted(folder.rglob("*")):
        needed = file.suffix == ".safetensors" or file.name in ("config.json", "scheduler_config.json")
        if not needed:
            continue
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(RethinkError, match=f"^editor: .*{file.name} is missing"):
            load_editor(folder)
        file.write_bytes(content)


def test_whole_parts_missing(folder, tmp_path):
    for part in sorted(p for p in folder.iterdir() if p.is_dir()):
        part.rename(tmp_path / "away")
        with pytest.raises(RethinkError, match=f"^editor: .*{part.name}.* is missing"):
            load_editor(folder)
        (tmp_path / "away").rename(part)


@pytest.mark.parametrize("name", ["bf16", "half"])
def test_half_precision(kind, kinds_root, name):
    half = miniatures.opened(kind, kinds_root, dtype=name)
    dtype = torch.bfloat16 if name == "bf16" else {"fp16": torch.float16, "bf16": torch.bfloat16}[half.family.half]
    assert half.module[half._denoiser].dtype == dtype
    if name == "bf16":  # the CPU lacks fp16 kernels
        assert torch.isfinite(edit(half, pictures(1, SIDE, SIDE), settings=Settings(steps=1, strength=1.0))).all()


def test_an_editor_goes_with_its_last_user(kind, kinds_root):
    mine = miniatures.opened(kind, kinds_root)
    edit(mine, pictures(1, SIDE, SIDE))
    weights = weakref.ref(mine.module)
    del mine
    assert is_gone(weights)
