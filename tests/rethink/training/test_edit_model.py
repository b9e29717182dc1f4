"""An editor as training sees it: sizes and latents are the sampling code's, and rows lose their conditions as the paper says."""

import hashlib
from dataclasses import replace

import pytest
import torch

from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.training.edit_model import EditModel
from rethink.training.example import TEXT, Example
from rethink.training.lora_families import TRAINED
from tests.support import editor_miniatures


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def editor(root):
    return editor_miniatures.opened("instruct_pix2pix", root)


def test_a_pair_is_encoded_as_the_editor_encodes_its_source(editor):
    source, target = torch.rand(2, 1, 40, 56, 3)
    example = EditModel(editor).encode(source, target, "make it red")
    prepared = [editor.prepare(image).encoded.latents for image in (source, target)]
    scaling = editor._pipeline.vae.config.scaling_factor
    assert torch.allclose(example.source, prepared[0]) and torch.allclose(example.target, prepared[1] * scaling)
    assert torch.equal(example.inputs["encoder_hidden_states"], editor.embed_texts(["make it red"]))


def test_a_target_of_the_same_shape_is_scaled_and_another_is_refused(editor):
    model, source = EditModel(editor), torch.rand(1, 40, 56, 3)
    assert (
        model.encode(source, torch.rand(1, 80, 112, 3), "x").target.shape
        == model.encode(source, source, "x").source.shape
    )
    with pytest.raises(RethinkError, match="56 × 40 pixels, but its target 56 × 56"):
        model.encode(source, torch.rand(1, 56, 56, 3), "x")


def test_text_source_and_both_are_dropped_equally_often(editor):
    model, rows = EditModel(editor), 12_000
    ones, zeros = torch.ones(rows, 1, 1), torch.zeros(rows, 1, 1)
    batch = Example(torch.ones(rows, 1, 1, 1), torch.ones(rows, 1, 1, 1), {"text": ones}, {"text": zeros})
    dropped = model.drop_conditions(batch, torch.Generator().manual_seed(0))
    text, image = dropped.inputs["text"].flatten() == 0, dropped.source.flatten() == 0
    for share in (text & ~image, image & ~text, text & image):
        assert share.float().mean().item() == pytest.approx(0.05, abs=0.008)


def flat(value, name=""):
    """{name: tensor} of all tensors in nested inputs."""
    if isinstance(value, dict):
        return {key: tensor for part in value for key, tensor in flat(value[part], f"{name}.{part}").items()}
    return {name: value} if isinstance(value, torch.Tensor) else {}


@pytest.mark.parametrize("family", ["instruct_pix2pix", "instruct_pix2pix_xl"])
def test_a_text_is_lost_to_what_guidance_compares_with(family, root):
    editor = editor_miniatures.opened(family, root)
    source, calls = torch.rand(1, 40, 56, 3), []
    example = EditModel(editor).encode(source, source, "make it red")
    unet = editor.module[editor.denoiser_name]
    hook = unet.register_forward_pre_hook(lambda _, args, options: calls.append(options), with_kwargs=True)
    editor.edit(editor.prepare(source), ["make it red"], [0], settings=Settings(steps=1))
    hook.remove()
    names = flat(example.null)
    assert names and all(torch.equal(flat(calls[0])[name][1:2], value) for name, value in names.items())
    assert not torch.equal(example.null[TEXT], example.inputs[TEXT])


def test_what_an_editor_does_not_compare_with_is_never_dropped(editor):
    model = EditModel(editor)
    assert model.drops
    model.editor = type("Plain", (), {"defaults": replace(editor.defaults, text_guidance=1.0, image_guidance=1.0)})()
    assert not model.drops


@pytest.mark.parametrize(
    ("kind", "message"),
    [("cosxl_edit", "no trainer for CosXL-Edit"), ("flux2_klein_distilled", "load the base of FLUX.2 Klein")],
)
def test_models_that_cannot_learn_are_refused(kind, message, root, monkeypatch):
    editor_miniatures.shrink(monkeypatch)
    with pytest.raises(RethinkError, match=message):
        EditModel(editor_miniatures.opened_or_skipped(kind, root))


def test_half_precision_that_cannot_be_raised_is_refused_as_gradients_would_vanish(root, monkeypatch):
    monkeypatch.setattr("rethink.training.edit_model.can_be_raised", lambda denoiser: False)
    with pytest.raises(
        RethinkError,
        match="is in fp16, where gradients vanish; choose bf16 or fp32 as the dtype of Load Editor, or with --dtype",
    ):
        EditModel(editor_miniatures.opened("instruct_pix2pix", root, dtype="fp16"))


def test_an_editor_that_does_not_show_its_denoiser_is_refused(editor):
    native = type("Native", (), {"name": "flux.safetensors", "family": editor.family})()
    with pytest.raises(RethinkError, match=r"flux.safetensors cannot be trained yet; load it from a diffusers folder"):
        EditModel(native)


def test_layers_that_comfyui_has_no_name_for_do_not_learn(editor):
    model = EditModel(editor)
    assert any(name.startswith("time_embedding.") for name in model.layers("all", 2))
    model.row = replace(model.row, nameless=("time_embedding.",))
    assert not any(name.startswith("time_embedding.") for name in model.layers("all", 2))
    assert set(model.layers("family", 2)) < set(model.layers("all", 2))


def test_rows_that_lose_their_source_lose_their_references(editor):
    model, full = EditModel(editor), torch.ones(3, 2, 4)
    example = Example(full, full, {"text": full}, {"text": full * 0}, (full, full[:, :1]))
    lost = model._without(example, torch.tensor([True, False, False]), torch.tensor([False, True, False]))
    for latents in (lost.source, *lost.references):
        assert latents[:, 0, 0].tolist() == [1, 0, 1]
    assert lost.inputs["text"][:, 0, 0].tolist() == [0, 1, 1]


def test_more_references_than_the_family_takes_are_refused(editor):
    image = torch.rand(1, 40, 56, 3)
    with pytest.raises(RethinkError, match="references: got 1 images, but InstructPix2Pix takes none"):
        EditModel(editor).encode(image, image, "x", [image])


@pytest.fixture
def shrunk(monkeypatch):
    editor_miniatures.shrink(monkeypatch)


def first_inputs(editor, image):
    """What the denoiser is called with in the first step of an edit: the latents."""
    calls = []

    def keep(module, args, options):
        calls.append(args[0] if args else options.get("hidden_states", options.get("sample")))

    hook = editor.module[editor.denoiser_name].register_forward_pre_hook(keep, with_kwargs=True)
    with hook:
        editor.edit(
            editor.prepare(image), ["make it red"], [0], Settings(steps=1, text_guidance=1.0, image_guidance=1.0)
        )
    return calls[0]


# Sides of a square that miniatures work at, and of another one, where these are not 64 and 32.
SIDES = {
    "instruct_pix2pix": (32, 16),
    **dict.fromkeys(["qwen_image_edit", "qwen_image_edit_plus", "longcat_image_edit"], (64, 96)),
}


@pytest.mark.parametrize("family", TRAINED)
def test_at_another_area_it_trains_on_what_edits_see_there(family, root, shrunk):
    editor = editor_miniatures.opened_or_skipped(family, root)
    image, own = (
        torch.rand(1, 40, 56, 3),
        EditModel(editor).encode(torch.rand(1, 40, 56, 3), torch.rand(1, 40, 56, 3), "x"),
    )
    own_side, side = SIDES.get(family, (64, 32))
    model = EditModel(editor)
    before = model.encoders
    model.work_at(side**2)
    example = model.encode(image, image, "make it red")
    assert (side / own_side) ** 2 == pytest.approx(example.tokens / own.tokens, rel=0.4) and model.encoders != before
    seen = first_inputs(model.editor, image)
    assert any(torch.equal(row[None, seen.shape[1] // 2 :], example.source) for row in seen)
    again = EditModel(editor)
    assert again.encoders == before and again.encode(image, image, "x").tokens == own.tokens, (
        "the editor stays as it is"
    )
    with again.editor.pipeline(), torch.no_grad():
        answer = again.predict(torch.randn_like(example.target), torch.zeros(1).long(), example)
    assert answer.shape == example.target.shape


@pytest.mark.parametrize("family", ["qwen_image_edit_plus", "flux2", "flux2_klein"])
def test_at_another_area_references_are_of_it_too(family, root, shrunk):
    model = EditModel(editor_miniatures.opened_or_skipped(family, root))
    image, references = torch.rand(1, 40, 40, 3), [torch.rand(1, 32, 32, 3), torch.rand(1, 96, 96, 3)]
    whole, before = model.encode(image, image, "x", references), model.encoders
    model.work_at((96 if family.startswith("qwen") else 32) ** 2)
    other = model.encode(image, image, "x", references)
    for example in (whole, other):
        assert sum(each.shape[1] for each in example.references) == 2 * example.tokens
    assert whole.tokens != other.tokens and model.encoders != before


def test_an_area_of_no_use_is_refused(editor):
    with pytest.raises(
        RethinkError, match=r"^megapixels: expected 0.00\d+ or more for this editor, got 9.5\d+e-07; 0 means"
    ):
        EditModel(editor).work_at(1)


def test_a_family_whose_encoding_has_changed_finds_nothing_of_before(editor):
    model = EditModel(editor)
    before = model.encoders
    model.row = replace(model.row, encoding=2)
    assert model.encoders != before


# What pairs are encoded by: working sizes of a square and of a wide source, and a digest of the texts around an instruction.
ENCODINGS = {
    "instruct_pix2pix": (1, (32, 32), (24, 44), "3833238a"),
    "instruct_pix2pix_xl": (1, (64, 64), (48, 84), "3833238a"),
    "flux_kontext": (1, (1024, 1024), (752, 1392), "3833238a"),
    "qwen_image_edit": (1, (1024, 1024), (768, 1376), "f5d6ec9d"),
    "qwen_image_edit_plus": (1, (1024, 1024), (768, 1376), "8f36c490"),
    "flux2": (1, (64, 64), (48, 84), "8a56a1ce"),
    "flux2_klein": (1, (64, 64), (48, 84), "3833238a"),
    "longcat_image_edit": (1, (1024, 1024), (768, 1376), "b5577b90"),
}


@pytest.mark.parametrize("family", TRAINED)
def test_whoever_changes_how_pairs_are_encoded_raises_the_encoding_of_the_family(family, root):
    """A failure here: raise `encoding` of the family's row of TRAINED and note what there is now; else latents of before, which
    lie in users' folders, are trained on."""
    editor = editor_miniatures.opened_or_skipped(family, root)
    assert (TRAINED[family].encoding, *how_it_encodes(editor)) == ENCODINGS[family]


def how_it_encodes(editor):
    pipeline = editor._pipeline
    texts = [
        getattr(pipeline, name) for name in sorted(vars(pipeline)) if "template" in name or name == "system_message"
    ]
    plans = [editor._plan(torch.zeros(1, *size, 3)).padded for size in ((512, 512), (540, 960))]
    return *plans, hashlib.blake2b(repr(texts).encode(), digest_size=4).hexdigest()
