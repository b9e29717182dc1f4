"""The kinds of LoRA beside the plain one: over fused layers, on norms, stacked, and what they leave behind."""

import pytest
import torch
from torch import nn

from rethink.editors.lora import lora_applied, read_lora
from rethink.errors import RethinkError
from tests.support.editor_miniatures import write_lora

W, MLP, RANK = 8, 32, 2
DICE = torch.Generator()


@pytest.fixture(autouse=True)
def seed():
    DICE.manual_seed(3)


def random(*shape):
    return torch.randn(*shape, generator=DICE) * 0.3


def named(**layers):
    """Modules by dotted names, written with two underscores for a dot."""
    root = nn.Module()
    for name, layer in layers.items():
        holder = root
        *path, last = name.split("__")
        for part in path:
            if not hasattr(holder, part):
                holder.add_module(part, nn.Module())
            holder = getattr(holder, part)
        holder.add_module(last, layer)
    return root


@pytest.fixture
def module():
    """FLUX.1 in small, as far as names go, and a block of a UNet."""
    torch.manual_seed(0)
    block, single = "transformer_blocks__0__", "single_transformer_blocks__0__"
    layers = {f"{block}attn__{name}": nn.Linear(W, W) for name in ("to_q", "to_k", "to_v", "add_q_proj")}
    layers |= {f"{single}attn__{name}": nn.Linear(W, W) for name in ("to_q", "to_k", "to_v")}
    layers |= {f"{single}proj_mlp": nn.Linear(W, MLP), f"{single}attn__norm_q": nn.RMSNorm(W)}
    layers |= {"norm": nn.LayerNorm(W), "groups": nn.GroupNorm(2, W), "conv": nn.Conv2d(W, W, 3, padding=1)}
    return nn.ModuleDict({"transformer": named(**layers)})


QKV = [f"transformer.transformer_blocks.0.attn.{name}" for name in ("to_q", "to_k", "to_v")]
SINGLE = [
    f"transformer.single_transformer_blocks.0.{name}" for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
]


def read(module, tensors, folder, strength=1.0, name="lora"):
    return read_lora(write_lora(tensors, folder, name), strength, module, "the test")


def weight_of(module, name, *loras):
    layer = module.get_submodule(name)
    with torch.no_grad(), lora_applied(module, loras):
        return (layer(torch.eye(layer.in_features)) - layer.bias).T


def fused(module, names):
    return torch.cat([module.get_submodule(name).weight.detach() for name in names])


def lokr():
    return {"lokr_w1": random(3, 2), "lokr_w2": random(8, 4)}  # its blocks do not end where the parts do


def loha():
    return {
        "hada_w1_a": random(24, 2),
        "hada_w1_b": random(2, W),
        "hada_w2_a": random(24, 3),
        "hada_w2_b": random(3, W),
    }


def product():
    return {"lora_up.weight": random(24, RANK), "lora_down.weight": random(RANK, W)}


def delta_of(tensors):
    if "lokr_w1" in tensors:
        return torch.kron(tensors["lokr_w1"], tensors["lokr_w2"])
    if "hada_w1_a" in tensors:
        return (tensors["hada_w1_a"] @ tensors["hada_w1_b"]) * (tensors["hada_w2_a"] @ tensors["hada_w2_b"])
    return tensors["lora_up.weight"] @ tensors["lora_down.weight"]


@pytest.mark.parametrize("make", [product, loha, lokr])
def test_what_lies_over_query_key_and_value_in_one_piece_is_shared_out(module, tmp_path, make):
    tensors = make()
    for stem in ("lora_unet_double_blocks_0_img_attn_qkv", "transformer.transformer_blocks.0.attn.to_qkv"):
        lora, report = read(module, {f"{stem}.{key}": tensor for key, tensor in tensors.items()}, tmp_path, 0.5)
        assert report.matched == 3 and not report.unmatched
        found = torch.cat([weight_of(module, name, lora) for name in QKV])
        assert torch.allclose(found, fused(module, QKV) + 0.5 * delta_of(tensors), atol=1e-6)


def test_so_is_a_lokr_over_parts_of_different_sizes(module, tmp_path):
    tensors = {"lokr_w1": random(7, 4), "lokr_w2_a": random(8, RANK), "lokr_w2_b": random(RANK, 2)}
    weights = {f"diffusion_model.single_blocks.0.linear1.{key}": tensor for key, tensor in tensors.items()}
    weights["diffusion_model.single_blocks.0.linear1.alpha"] = torch.tensor(1.0)
    lora, _ = read(module, weights, tmp_path)
    delta = torch.kron(tensors["lokr_w1"], tensors["lokr_w2_a"] @ tensors["lokr_w2_b"]) / RANK
    found = torch.cat([weight_of(module, name, lora) for name in SINGLE])
    assert torch.allclose(found, fused(module, SINGLE) + delta, atol=1e-6)


def test_a_dora_by_outputs_is_shared_out_and_one_by_inputs_is_refused(module, tmp_path):
    stem, tensors, lengths = "diffusion_model.double_blocks.0.img_attn.qkv", product(), random(24, 1).abs() + 1
    weights = {f"{stem}.{key}": tensor for key, tensor in tensors.items()}
    lora, _ = read(module, {**weights, f"{stem}.dora_scale": lengths}, tmp_path)
    whole = fused(module, QKV)
    expected = (whole + delta_of(tensors)) * lengths / whole.norm(dim=1, keepdim=True)
    assert torch.allclose(torch.cat([weight_of(module, name, lora) for name in QKV]), expected, atol=1e-5)
    with pytest.raises(
        RethinkError, match="^lora: .* of the kind DoRA and changes .*img_attn.qkv, .* Editor From Model"
    ):
        read(module, {**weights, f"{stem}.dora_scale": random(1, W)}, tmp_path)


def test_an_oft_is_shared_out_where_its_blocks_end_with_the_parts(module, tmp_path):
    stem = "diffusion_model.double_blocks.0.img_attn.qkv"
    blocks = random(6, 4, 4)
    lora, _ = read(module, {f"{stem}.oft_blocks": blocks}, tmp_path)
    skew = blocks - blocks.transpose(1, 2)
    turns = (torch.eye(4) + skew) @ torch.linalg.inv(torch.eye(4) - skew)
    expected = torch.einsum("knm,knc->kmc", turns, fused(module, QKV).reshape(6, 4, W)).reshape(24, W)
    assert torch.allclose(torch.cat([weight_of(module, name, lora) for name in QKV]), expected, atol=1e-5)
    with pytest.raises(RethinkError, match="^lora: .* of the kind OFT and changes "):
        read(module, {f"{stem}.oft_blocks": random(2, 12, 12)}, tmp_path)


def test_tucker_form_of_a_lokr(module, tmp_path):
    """Which ComfyUI leaves out: its product of views fails."""
    core, up, down, left = random(RANK, RANK, 3, 3), random(RANK, 2), random(RANK, 4), random(4, 2)
    tensors = {"lokr_w1": left, "lokr_t2": core, "lokr_w2_a": up, "lokr_w2_b": down}
    lora, _ = read(module, {f"lora_unet_conv.{key}": tensor for key, tensor in tensors.items()}, tmp_path)
    right = torch.einsum("ijkl,jr,ip->prkl", core, down, up).contiguous()
    conv = module["transformer"].conv
    x = random(1, W, 5, 5)
    with torch.no_grad(), lora_applied(module, [lora]):
        ours = conv(x)
    expected = torch.nn.functional.conv2d(
        x, conv.weight + torch.kron(left[:, :, None, None], right), conv.bias, padding=1
    )
    assert torch.allclose(ours, expected, atol=1e-5)


# ── norms and biases ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_norms_and_biases_change_too(module, tmp_path):
    changes = {
        "lora_unet_norm.w_norm": random(W),
        "lora_unet_norm.b_norm": random(W),
        "lora_unet_groups.w_norm": random(W),
        "lora_unet_groups.b_norm": random(W),
        "diffusion_model.single_blocks.0.norm.query_norm.diff": random(W),
        "diffusion_model.conv.diff_b": random(W),
        "diffusion_model.double_blocks.0.img_attn.qkv.diff_b": random(24),
    }
    lora, report = read(module, changes, tmp_path, 0.5)
    assert not report.unmatched and len(lora.layers) == 7
    flat, picture = random(3, W), random(2, W, 4, 4)
    transformer = module["transformer"]
    query = transformer.single_transformer_blocks.get_submodule("0").attn.norm_q

    def outputs():
        with torch.no_grad():
            layers = (transformer.norm, transformer.groups, query, transformer.conv, module.get_submodule(QKV[1]))
            return [layer(picture if x else flat) for layer, x in zip(layers, (0, 1, 0, 1, 0))]

    with lora_applied(module, [lora]):
        ours = outputs()
    before = outputs()
    with torch.no_grad():
        for layer, name in ((transformer.norm, "norm"), (transformer.groups, "groups")):
            layer.weight += 0.5 * changes[f"lora_unet_{name}.w_norm"]
            layer.bias += 0.5 * changes[f"lora_unet_{name}.b_norm"]
        query.weight += 0.5 * changes["diffusion_model.single_blocks.0.norm.query_norm.diff"]
        transformer.conv.bias += 0.5 * changes["diffusion_model.conv.diff_b"]
        module.get_submodule(QKV[1]).bias += 0.5 * changes["diffusion_model.double_blocks.0.img_attn.qkv.diff_b"][8:16]
    for found, expected, was in zip(ours, outputs(), before):
        assert torch.allclose(found, expected, atol=1e-6) and not torch.allclose(found, was, atol=1e-3)


# ── stacks, and what stays behind ────────────────────────────────────────────────────────────────────────────────────


def test_a_dora_takes_the_lengths_of_what_lies_below_it(module, tmp_path):
    name = QKV[0]
    layer = module.get_submodule(name)
    plain = {f"{name}.lora_A.weight": random(RANK, W), f"{name}.lora_B.weight": random(W, RANK)}
    lengths = random(1, W).abs() + 1
    dora = {f"{name}.lora_down.weight": random(RANK, W), f"{name}.lora_up.weight": random(W, RANK)}
    first, _ = read(module, plain, tmp_path, 0.5, "first")
    second, _ = read(module, {**dora, f"{name}.dora_scale": lengths}, tmp_path, 0.8, "second")
    weight = layer.weight + 0.5 * plain[f"{name}.lora_B.weight"] @ plain[f"{name}.lora_A.weight"]
    changed = weight + dora[f"{name}.lora_up.weight"] @ dora[f"{name}.lora_down.weight"]
    expected = weight + 0.8 * (changed * lengths / changed.norm(dim=0, keepdim=True) - weight)
    assert torch.allclose(weight_of(module, name, first, second), expected, atol=1e-5)


def test_an_error_while_a_layer_computes_leaves_its_weight_in_place(module, tmp_path):
    name = QKV[0]
    layer = module.get_submodule(name)
    weight = layer.weight
    dora = {f"{name}.lora_down.weight": random(RANK, W), f"{name}.lora_up.weight": random(W, RANK)}
    lora, _ = read(module, {**dora, f"{name}.dora_scale": random(W, 1)}, tmp_path)
    with pytest.raises(RuntimeError, match="shapes"), lora_applied(module, [lora]):
        layer(torch.zeros(1, W + 1))
    assert layer.weight is weight and not layer._forward_hooks and not layer._forward_pre_hooks


def test_kinds_that_need_the_weight_are_refused_where_it_is_quantized(module, tmp_path):
    name = QKV[0]
    layer = module.get_submodule(name)
    plain = {f"{name}.lora_down.weight": random(RANK, W), f"{name}.lora_up.weight": random(W, RANK)}
    layer.weight = nn.Parameter(
        torch.zeros(W * W // 2, 1, dtype=torch.uint8), requires_grad=False
    )  # as bitsandbytes has it
    assert read(module, plain, tmp_path)[1].matched == 1
    assert read(module, {f"{name}.lokr_w1": random(2, 2), f"{name}.lokr_w2": random(4, 4)}, tmp_path)[1].matched == 1
    with pytest.raises(RethinkError, match="^lora: .* of the kind DoRA, which needs the weights .* quantiz"):
        read(module, {**plain, f"{name}.dora_scale": random(W, 1)}, tmp_path)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "alpha": (2,)}, "an alpha of 2 numbers"),
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "on_input": (1,)}, "the kind .IA.³"),
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "reshape_weight": (2,)}, "the kind control LoRA"),
        ({"oft_R.default.weight": (2, 4, 4)}, "the kind PEFT's OFT"),
        ({"boft_R": (2, 4, 4), "boft_s": (8, 1)}, "the kind PEFT's BOFT"),
        ({"lora_A": (2, 8), "lora_B": (8, 2), "lora_E": (2, 1)}, "the kind AdaLoRA"),
        ({"lora_down.weight": (2, 8)}, "two factors that do not belong together"),
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 3)}, "two factors that do not belong together"),
        ({"lora_down.weight": (2, 7), "lora_up.weight": (8, 2)}, "LoRA of 2 × 7 instead of 2 × 8"),
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "lora_mid.weight": (3, 3, 1, 1)}, "middle factor"),
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "dora_scale": (5, 1)}, "5 lengths of a DoRA"),
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "lora_magnitude_vector": (5,)}, "5 lengths"),
        ({"dora_scale": (8, 1)}, "lengths of a DoRA without its factors"),
        ({"alpha": (1,)}, "changes nothing: it only has .*to_q"),
        ({"hada_w1_a": (8, 2), "hada_w1_b": (2, 8)}, "a LoHa that lacks one of its four factors"),
        ({"lokr_w1": (2, 2)}, "a LoKr that lacks one of its factors"),
        ({"lokr_w1": (2, 2), "lokr_w2": (5, 4)}, "a LoKr of 2 × 2 by 5 × 4"),
        (
            {"lokr_w1": (2, 2), "lokr_w2_a": (4, 2), "lokr_w2_b": (3, 4)},
            "factors of a LoKr that do not belong together",
        ),
        ({"oft_blocks": (3, 4, 4)}, "an OFT of 3 × 4 × 4"),
        ({"a1.weight": (8, 2), "a2.weight": (2, 8)}, "a GLoRA that lacks one"),
        ({"diff": (8, 7)}, "a difference of 8 × 7"),
        ({"diff_b": (7,)}, "a bias of 7 instead of 8"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(module, tmp_path, tensors, sentence):
    weights = {f"{QKV[0]}.{name}": random(*shape) for name, shape in tensors.items()}
    with pytest.raises(RethinkError, match=f"^lora: [^\\n]*{sentence}[^\\n]*$"):
        read(module, weights, tmp_path)


def test_an_alpha_alone_is_said(module, tmp_path):
    """As files have it whose weakest layers were taken out."""
    weights = {f"{QKV[0]}.lora_A.weight": random(RANK, W), f"{QKV[0]}.lora_B.weight": random(W, RANK)}
    _, report = read(module, {**weights, f"{QKV[1]}.alpha": torch.tensor(1.0)}, tmp_path)
    assert report.matched == 1 and report.unmatched == (QKV[1],)


def test_what_has_no_use_is_said(module, tmp_path):
    name = QKV[0]
    weights = {
        f"{name}.oft_blocks": random(2, 4, 4),
        f"{name}.rescale": random(W, 1),
        f"{name}.lora_mid.weight": random(1),
    }
    _, report = read(module, weights, tmp_path)
    assert set(report.unmatched) == {f"{name}.rescale", f"{name}.mid"}
