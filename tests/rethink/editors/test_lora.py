"""LoRA files over every kind of editor: what fits, what it does, and that nothing of it stays."""

from contextlib import contextmanager

import pytest
import torch

from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from tests.support import editor_miniatures
from tests.support.editor_miniatures import OWN, RANK, as_diffusers, denoiser, factors, layers, write_lora
from tests.support.family_miniatures import MINIATURES, SIDE
from tests.support.mapped_files import is_mapped

FEW = Settings(steps=2, strength=1.0)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    editor_miniatures.shrink(monkeypatch)


@pytest.fixture(params=[*OWN, *(kind for kind in MINIATURES if kind not in ("cosxl_edit", "flux2_klein_distilled"))])
def editor(request, editor_of):
    return editor_of(request.param)


@pytest.fixture
def kontext(editor_of):
    return editor_of("flux_kontext")


def as_peft(pairs):
    return {
        f"base_model.model.{n.partition('.')[2]}.lora_{x}.weight": w for n, p in pairs.items() for x, w in zip("AB", p)
    }


def as_old_diffusers(pairs):
    return {f"{n}.lora.{x}.weight": w for n, pair in pairs.items() for x, w in zip(("down", "up"), pair)}


def as_kohya(pairs, alpha=RANK):
    prefixes = {
        "unet": "lora_unet_",
        "transformer": "lora_unet_",
        "text_encoder": "lora_te1_",
        "text_encoder_2": "lora_te2_",
    }
    weights = {}
    for name, (down, up) in pairs.items():
        part, _, rest = name.partition(".")
        stem = prefixes[part] + rest.replace(".", "_")
        weights |= {
            f"{stem}.lora_down.weight": down,
            f"{stem}.lora_up.weight": up,
            f"{stem}.alpha": torch.tensor(float(alpha)),
        }
    return weights


FORMATS = {"diffusers": as_diffusers, "peft": as_peft, "old diffusers": as_old_diffusers, "kohya": as_kohya}


@contextmanager
def unchanged_afterwards(*layers):
    """Within it the weights of layers may be changed, which other tests use too."""
    before = [layer.weight.detach().clone() for layer in layers]
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, weight in zip(layers, before):
                layer.weight.copy_(weight)


def edit(editor, seed=1, instruction="make it red"):
    source = torch.rand(1, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(7))
    return editor.edit(editor.prepare(source), [instruction], [seed], FEW)


# ── what it does ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_family_has_layers_for_it(editor):
    named = layers(editor)
    for target in editor.family.lora_targets:
        in_one_of_the_blocks = any(name.endswith(target) for name, _ in editor.module[denoiser(editor)].named_modules())
        assert in_one_of_the_blocks, target
    assert len(named) >= 4


def test_all_formats_say_the_same(editor, tmp_path):
    pairs = factors(editor)
    before = edit(editor)
    results = []
    for name, form in FORMATS.items():
        changed, report = editor.with_lora(write_lora(form(pairs), tmp_path, name.replace(" ", "-")), 1.0)
        assert (report.matched, report.unmatched) == (len(pairs), ())
        assert str(report) == f"{report.name}: {len(pairs)} of {len(pairs)} layers fit."
        results.append(edit(changed))
    assert all(torch.equal(result, results[0]) for result in results)
    assert not torch.allclose(results[0], before, atol=1e-3)
    assert torch.equal(edit(editor), before), "the editor itself is as before"


def test_it_equals_weights_with_the_product_added(editor, tmp_path):
    pairs = factors(editor, scale=0.1)
    changed, _ = editor.with_lora(write_lora(as_kohya(pairs, alpha=2), tmp_path), 0.7)
    ours = edit(changed)
    targets = layers(editor)
    with unchanged_afterwards(*targets.values()), torch.no_grad():
        for name, (down, up) in pairs.items():
            targets[name].weight += 0.7 * 2 / RANK * up @ down
        merged = edit(editor)
    assert torch.allclose(ours, merged, atol=2e-3)


def test_strengths(editor, tmp_path):
    file = write_lora(as_diffusers(factors(editor)), tmp_path)
    before = edit(editor)
    off, weak, strong, turned = (edit(editor.with_lora(file, s)[0]) for s in (0.0, 0.3, 1.0, -1.0))
    assert torch.equal(off, before)
    assert (weak - before).abs().mean() < (strong - before).abs().mean()
    assert not torch.allclose(turned, strong, atol=1e-3)


def test_they_stack_over_one_base(editor, tmp_path):
    first = write_lora(as_diffusers(factors(editor)), tmp_path, "first")
    second = write_lora(as_kohya(factors(editor, scale=0.15)), tmp_path, "second")
    one, _ = editor.with_lora(first, 1.0)
    both, _ = one.with_lora(second, 0.5)
    assert both.module is one.module is editor.module
    before, with_one, with_both = edit(editor), edit(one), edit(both)
    assert not torch.equal(with_one, with_both)
    assert torch.equal(edit(one), with_one) and torch.equal(edit(editor), before)
    undone = one.with_lora(first, -1.0)[0]
    assert torch.allclose(edit(undone), before, atol=1e-3)
    assert not any(layer._forward_hooks for layer in editor.module[denoiser(editor)].modules())


def test_a_file_that_is_over_an_editor_can_be_replaced(kontext, tmp_path):
    """As by another training of its name, while the editor is still in memory."""
    path = write_lora(as_diffusers(factors(kontext)), tmp_path)
    changed, _ = kontext.with_lora(path, 1.0)
    edit(changed)
    assert not is_mapped(path)


@pytest.mark.parametrize("kind", ["instruct_pix2pix", "instruct_pix2pix_xl", "flux_kontext"])
def test_text_encoders_too(kind, editor_of, tmp_path):
    editor = editor_of(kind)
    pairs = factors(editor, "text_encoder", scale=2.0)
    assert pairs
    before = edit(editor)  # remembers what the encoders say without it
    changed, report = editor.with_lora(write_lora(as_kohya(pairs), tmp_path), 1.0)
    assert report.matched == len(pairs)
    assert not torch.allclose(edit(changed), before, atol=1e-4)
    assert torch.equal(edit(editor), before)


def test_convolutions_too(editor_of, tmp_path):
    editor = editor_of("instruct_pix2pix")
    conv = editor.module["unet"].down_blocks[0].resnets[0].conv1
    down, up = torch.randn(RANK, conv.in_channels, 3, 3) * 0.1, torch.randn(conv.out_channels, RANK, 1, 1) * 0.1
    stem = "lora_unet_down_blocks_0_resnets_0_conv1"
    file = write_lora({f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}, tmp_path)
    changed, report = editor.with_lora(file, 0.5)
    ours = edit(changed)
    with unchanged_afterwards(conv), torch.no_grad():
        conv.weight += 0.5 * torch.einsum("or,rihw->oihw", up[:, :, 0, 0], down)
        merged = edit(editor)
    assert report.matched == 1 and torch.allclose(ours, merged, atol=1e-4)


def test_what_diffusers_converts_fits_too(kontext, tmp_path):
    """kohya's FLUX files keep query, key and value in one piece and count blocks by other names."""
    width, rank = 32, RANK
    weights = {}
    shapes = {
        "double_blocks_0_img_attn_qkv": (width, 3 * width),
        "double_blocks_0_img_attn_proj": (width, width),
        "double_blocks_0_img_mlp_0": (width, 4 * width),
        "double_blocks_0_img_mlp_2": (4 * width, width),
        "single_blocks_0_linear2": (5 * width, width),
    }
    for name, (inputs, outputs) in shapes.items():
        weights[f"lora_unet_{name}.lora_down.weight"] = torch.randn(rank, inputs) * 0.1
        weights[f"lora_unet_{name}.lora_up.weight"] = torch.randn(outputs, rank) * 0.1
        weights[f"lora_unet_{name}.alpha"] = torch.tensor(float(rank))
    changed, report = kontext.with_lora(write_lora(weights, tmp_path), 1.0)
    assert report.matched == 7 and not report.unmatched
    assert not torch.allclose(edit(changed), edit(kontext), atol=1e-3)


@pytest.mark.parametrize("kind", ["instruct_pix2pix", "flux_kontext", "qwen_image_edit", "flux2_klein"])
def test_equals_peft_in_the_plain_pipeline(kind, editor_of, tmp_path):
    pytest.importorskip("peft")
    editor = editor_of(kind)
    file = write_lora(as_diffusers(factors(editor, scale=0.1)), tmp_path)
    ours = edit(editor.with_lora(file, 1.0)[0])
    plain = editor_of(kind)
    plain._pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    try:
        theirs = edit(plain)
    finally:
        plain._pipeline.unload_lora_weights()
    assert torch.allclose(ours, theirs, atol=1e-5)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def count_hooks(editor):
    """Of all layers; transformers leaves some of its own on encoders that have run."""
    return sum(len(layer._forward_hooks) for layer in editor.module.modules())


def refused(editor, weights, tmp_path, complaint, strength=1.0):
    file, before = write_lora(weights, tmp_path, "bad"), count_hooks(editor)
    with pytest.raises(RethinkError, match=complaint):
        editor.with_lora(file, strength)
    assert count_hooks(editor) == before


def test_no_key_fits(editor, tmp_path):
    other = {
        "transformer.nothing.like_this.lora_A.weight": torch.zeros(4, 8),
        "transformer.nothing.like_this.lora_B.weight": torch.zeros(8, 4),
    }
    refused(editor, other, tmp_path, "^lora: 0 of 1 layers of .* fit .*nothing")
    refused(editor, {"a.weight": torch.zeros(4)}, tmp_path, "^lora: .* has no LoRA layers")


def test_wrong_ranks_and_shapes(editor, tmp_path):
    weights = as_diffusers(factors(editor))
    name = next(key for key in weights if key.endswith("lora_A.weight"))
    refused(editor, {**weights, name: weights[name][:2]}, tmp_path, "^lora: .* two factors .* ranks")
    without = {k: w for k, w in weights.items() if k != name.replace("_A", "_B")}
    refused(editor, without, tmp_path, "^lora: .* two factors that do not belong together")
    refused(
        editor, {**weights, name: torch.zeros(RANK, 5)}, tmp_path, "^lora: .* does not fit .* 4 × 5 instead of 4 × "
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan(editor, tmp_path, value):
    weights = as_diffusers(factors(editor))
    weights[next(iter(weights))][0, 0] = value
    refused(editor, weights, tmp_path, "^lora: .* NaN or infinite values in ")


def test_half_of_it_fits(kontext, tmp_path):
    """As FLUX's layers have Qwen-Image's names and shapes in part."""
    weights = as_diffusers(factors(kontext))
    foreign = {key.replace("blocks.0", "blocks.7"): weight for key, weight in weights.items()}
    half = len(weights) // 2
    refused(kontext, {**weights, **foreign}, tmp_path, f"^lora: {half} of {2 * half} layers of .* fit FLUX.1 Kontext")


def test_a_few_layers_more_are_said(kontext, tmp_path):
    weights = as_diffusers(factors(kontext))
    extra = {"transformer.extra.lora_A.weight": torch.zeros(4, 8), "transformer.extra.lora_B.weight": torch.zeros(8, 4)}
    _, report = kontext.with_lora(write_lora({**weights, **extra}, tmp_path), 1.0)
    assert report.unmatched == ("transformer.extra",) and "not used: transformer.extra" in str(report)


def test_what_is_no_layer_is_said_too(kontext, tmp_path):
    weights = as_diffusers(factors(kontext))
    _, report = kontext.with_lora(write_lora({**weights, "transformer.proj_out.zeta": torch.ones(4)}, tmp_path), 1.0)
    assert report.unmatched == ("transformer.proj_out.zeta",)
    whole_layers = {f"transformer.layer_{i}.diff": torch.ones(4) for i in range(len(weights))}
    refused(kontext, {**weights, **whole_layers}, tmp_path, "^lora: .* made for another model .*layer_0")


def test_what_its_header_says_it_was_trained_on_is_said(kontext, editor_of, tmp_path):
    header, none = {"ss_base_model_version": "flux2"}, r"made for another model \(this"
    foreign = as_diffusers(factors(editor_of("flux2")))
    wide = {name: torch.zeros(weight.shape[0], 2 * weight.shape[1]) if "lora_A" in name else weight
            for name, weight in as_diffusers(factors(kontext)).items()}  # fmt: skip
    for weights, message in (
        (foreign, r"it was made for another model, flux2 according to its header \("),
        (wide, "another model, flux2"),
    ):
        with pytest.raises(RethinkError, match=message):
            kontext.with_lora(write_lora(weights, tmp_path, metadata=header), 1.0)
    refused(kontext, foreign, tmp_path, none)


def test_files_of_other_families(editor_of, tmp_path):
    for made_for, kind in [("instruct_pix2pix_xl", "flux_kontext"), ("flux_kontext", "flux2"), ("flux2", "sdedit_xl")]:
        weights = as_diffusers(factors(editor_of(made_for)))
        refused(editor_of(kind), weights, tmp_path, "^lora: ")


def test_other_files(kontext, tmp_path):
    refused(kontext, as_diffusers(factors(kontext)), tmp_path, "^strength: ", strength=float("nan"))
    for name, content in (("a.ckpt", b"x"), ("b.safetensors", b""), ("c.safetensors", b"version https://git-lfs")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RethinkError, match="^lora: "):
            kontext.with_lora(tmp_path / name, 1.0)
    with pytest.raises(RethinkError, match="^lora: .* does not exist"):
        kontext.with_lora(tmp_path / "absent.safetensors", 1.0)
