"""What a layer may be called: by every name it changes as diffusers' own loader changes it, or by the formula."""

import pytest
import torch
from torch import nn

from rethink.editors.lora import lora_applied, read_lora
from rethink.editors.lora_names import has_diffusers_name, module_aliases, resolve_layer, shape_of
from tests.support.editor_miniatures import RANK, write_lora
from tests.support.lora_layers import DICE, acts, assert_adds, assert_as_diffusers, kohya, peft, product, random

pytest.importorskip("peft")


@pytest.fixture(autouse=True)
def seed():
    DICE.manual_seed(5)


def sgm(name):
    """A layer of the miniature UNets in the names of Stability AI's code, worked out by hand: one resnet a block down,
    two up, the first block of SD XL down and its second up without attention."""
    inner = {
        "conv1": "in_layers.2",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }
    blocks = {
        "down_blocks.0.resnets.0": "input_blocks.1.0",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
        "down_blocks.1.resnets.0": "input_blocks.3.0",
        "down_blocks.1.attentions.0": "input_blocks.3.1",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "up_blocks.0.resnets.0": "output_blocks.0.0",
        "up_blocks.0.attentions.0": "output_blocks.0.1",
        "up_blocks.0.resnets.1": "output_blocks.1.0",
        "up_blocks.0.attentions.1": "output_blocks.1.1",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
        "up_blocks.1.resnets.0": "output_blocks.2.0",
        "up_blocks.1.resnets.1": "output_blocks.3.0",
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
    own = max((block for block in blocks if name.startswith(block)), key=len)
    rest = name.removeprefix(own).removeprefix(".")
    return ".".join(part for part in (blocks[own], inner.get(rest, rest)) if part)


def trainable(model):
    return {name: layer for name, layer in model.named_modules() if type(layer) in (nn.Linear, nn.Conv2d)}


@pytest.mark.parametrize(
    ("kind", "original"), [("instruct_pix2pix_xl", True), ("instruct_pix2pix_xl", False), ("sdedit_xl", True)]
)
def test_all_layers_of_sdxl_by_kohyas_names(kind, editor_of, tmp_path, original):
    editor = editor_of(kind)
    weights, deltas = {}, {}
    for name, layer in trainable(editor.module["unet"]).items():
        stem = "lora_unet_" + (sgm(name) if original else name).replace(".", "_")
        weights |= kohya(stem, *shape_of(layer))
        deltas[f"unet.{name}"] = product(weights, stem, 2.0)
    for number, part in ((1, "text_encoder"), (2, "text_encoder_2")):
        for name, layer in trainable(editor.module[part]).items():
            name = name.removeprefix("text_model.")
            stem = f"lora_te{number}_" + ("" if "projection" in name else "text_model_") + name.replace(".", "_")
            weights |= kohya(stem, *shape_of(layer))
            full = name if hasattr(editor.module[part], "encoder") or "projection" in name else f"text_model.{name}"
            deltas[f"{part}.{full}"] = product(weights, stem, 2.0)
    assert len(deltas) > 80
    assert_adds(editor, tmp_path, weights, deltas)


@pytest.mark.parametrize("name", ["sgm", "diffusers"])
def test_sdxl_by_kohyas_names_as_in_diffusers(editor_of, tmp_path, name):
    editor = editor_of("instruct_pix2pix_xl")
    weights = {}
    for own, layer in trainable(editor.module["unet"]).items():
        if "time_emb" not in own and "add_emb" not in own:
            weights |= kohya("lora_unet_" + (sgm(own) if name == "sgm" else own).replace(".", "_"), *shape_of(layer))
    assert_as_diffusers(editor, tmp_path, weights)


def test_sd15_by_kohyas_names_with_convolutions_as_in_diffusers(editor_of, tmp_path):
    editor = editor_of("instruct_pix2pix")
    weights = {}
    for name, layer in trainable(editor.module["unet"]).items():
        if not name.startswith(("time_", "conv_")):
            weights |= kohya("lora_unet_" + name.replace(".", "_"), *shape_of(layer))
    assert_as_diffusers(editor, tmp_path, weights)


FLUX = {
    "attn.to_q": "img_attn.qkv",
    "attn.to_k": "img_attn.qkv",
    "attn.to_v": "img_attn.qkv",
    "attn.add_q_proj": "txt_attn.qkv",
    "attn.add_k_proj": "txt_attn.qkv",
    "attn.add_v_proj": "txt_attn.qkv",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
}


FLUX_SINGLE = {
    "attn.to_q": "linear1",
    "attn.to_k": "linear1",
    "attn.to_v": "linear1",
    "proj_mlp": "linear1",
    "attn.to_qkv_mlp_proj": "linear1",
    "proj_out": "linear2",
    "attn.to_out": "linear2",
    "norm.linear": "modulation.lin",
}


FLUX_OUTER = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
}


def bfl(name):
    """A layer of FLUX in the names of Black Forest Labs' code."""
    for block, other, table in (
        ("transformer_blocks.0.", "double_blocks.0.", FLUX),
        ("single_transformer_blocks.0.", "single_blocks.0.", FLUX_SINGLE),
    ):
        if name.startswith(block):
            return other + table[name.removeprefix(block)]
    return FLUX_OUTER[name]


def fused(model):
    """{original name: [(own name, layer), …] from top to bottom}."""
    order = "to_q add_q_proj to_k add_k_proj to_v add_v_proj proj_mlp"
    found = {}
    for name, layer in trainable(model).items():
        found.setdefault(bfl(name), []).append((name, layer))
    return {
        name: sorted(parts, key=lambda part: order.find(part[0].rpartition(".")[2])) for name, parts in found.items()
    }


BFL_NAMES = {
    "kohya": ("lora_unet_", "_", "lora_down", "lora_up", True),
    "ComfyUI's Train LoRA": ("diffusion_model.", ".", "lora_down", "lora_up", True),
    "ai-toolkit": ("diffusion_model.", ".", "lora_A", "lora_B", False),
    "fal": ("base_model.model.", ".", "lora_A", "lora_B", False),
    "bare": ("", ".", "lora_A.default", "lora_B.default", False),
}


@pytest.mark.parametrize("form", BFL_NAMES)
@pytest.mark.parametrize("kind", ["flux_kontext", "flux2_klein"])
def test_all_layers_of_flux_by_its_original_names(kind, editor_of, tmp_path, form):
    assert_original_names_fit(editor_of(kind).module, tmp_path, form)


def test_longcat_by_the_names_of_flux(tmp_path):
    """Its transformer alone: its pipeline needs more than there may be."""
    diffusers = pytest.importorskip("diffusers")
    transformer = diffusers.LongCatImageTransformer2DModel(
        in_channels=64,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 6, 6],
        patch_size=1,
        num_layers=1,
        num_single_layers=1,
        num_attention_heads=2,
        attention_head_dim=16,
    )
    assert_original_names_fit(nn.ModuleDict({"transformer": transformer}), tmp_path, "kohya")


def assert_original_names_fit(module, tmp_path, form):
    prefix, dot, down, up, with_alpha = BFL_NAMES[form]
    weights, deltas = {}, {}
    for name, parts in fused(module["transformer"]).items():
        stem = prefix + name.replace(".", dot)
        rows = [layer.out_features for _, layer in parts]
        weights |= {f"{stem}.{down}.weight": random(RANK, parts[0][1].in_features)}
        weights |= {f"{stem}.{up}.weight": random(sum(rows), RANK)}
        weights |= {f"{stem}.alpha": torch.tensor(2.0 * RANK)} if with_alpha else {}
        delta = product(weights, stem, 2.0 if with_alpha else 1.0, down, up)
        if name == "final_layer.adaLN_modulation.1":  # shift before scale there, after it here
            delta = torch.cat(delta.chunk(2)[::-1])
        deltas |= {f"transformer.{own}": part for (own, _), part in zip(parts, delta.split(rows))}
    lora, report = read_lora(write_lora(weights, tmp_path), 1.0, module, "the test")
    assert not report.unmatched and lora.layers.keys() == deltas.keys()
    with lora_applied(module, [lora]):
        found = {name: acts(module.get_submodule(name))[0] for name in deltas}
    for name, delta in deltas.items():
        assert torch.allclose(found[name] - module.get_submodule(name).weight, delta, atol=3e-5), name


def test_flux_by_kohyas_names_as_in_diffusers(editor_of, tmp_path):
    editor = editor_of("flux_kontext")
    weights = {}
    for name, parts in fused(editor.module["transformer"]).items():
        if "_blocks." in name and "linear1" not in name:  # diffusers counts on the large model's size, loses the rest
            rows = sum(layer.out_features for _, layer in parts)
            weights |= kohya("lora_unet_" + name.replace(".", "_"), rows, parts[0][1].in_features, alpha=3.0)
    assert_as_diffusers(editor, tmp_path, weights)


def test_flux2_by_original_names_as_in_diffusers(editor_of, tmp_path):
    editor = editor_of("flux2_klein")
    weights = {}
    for name, parts in fused(editor.module["transformer"]).items():
        if name != "final_layer.adaLN_modulation.1":  # which diffusers does not turn round
            rows = sum(layer.out_features for _, layer in parts)
            weights |= peft(f"diffusion_model.{name}", rows, parts[0][1].in_features)
    assert_as_diffusers(editor, tmp_path, weights)


def test_xlabs_files_as_in_diffusers(editor_of, tmp_path):
    editor = editor_of("flux_kontext")
    sizes = {
        "double_blocks.0.processor.qkv_lora1": (96, 32),
        "double_blocks.0.processor.proj_lora1": (32, 32),
        "double_blocks.0.processor.qkv_lora2": (96, 32),
        "double_blocks.0.processor.proj_lora2": (32, 32),
        "single_blocks.0.processor.qkv_lora": (96, 32),
        "single_blocks.0.processor.proj_lora": (32, 160),
    }
    weights = {}
    for name, (rows, columns) in sizes.items():
        weights |= {f"{name}.down.weight": random(RANK, columns), f"{name}.up.weight": random(rows, RANK)}
    assert_as_diffusers(editor, tmp_path, weights)


def test_the_text_encoders_of_flux_too(editor_of, tmp_path):
    editor = editor_of("flux_kontext")
    for clip, t5 in (("lora_te1_", "lora_te2_"), ("lora_te_", "lora_te3_")):
        weights, deltas = {}, {}
        for name, layer in trainable(editor.module["text_encoder"]).items():
            stem = clip + "text_model_" + name.removeprefix("text_model.").replace(".", "_")
            weights |= kohya(stem, *shape_of(layer))
            deltas[f"text_encoder.{name}"] = product(weights, stem, 2.0)
        for name, layer in trainable(editor.module["text_encoder_2"]).items():
            stem = t5 + name.replace(".", "_")
            weights |= kohya(stem, *shape_of(layer))
            deltas[f"text_encoder_2.{name}"] = product(weights, stem, 2.0)
        assert_adds(editor, tmp_path, weights, deltas)
    weights = {
        name.replace("lora_te_text_model_", "text_encoders.clip_l.transformer.text_model."): w
        for name, w in weights.items()
    }
    weights = {name.replace("lora_te3_", "text_encoders.t5xxl.transformer."): w for name, w in weights.items()}
    assert_adds(editor, tmp_path, weights, deltas)


def test_onetrainers_names_and_the_words_it_adds(editor_of, tmp_path):
    editor = editor_of("flux_kontext")
    weights, deltas = {}, {}
    for name, layer in trainable(editor.module["transformer"]).items():
        stem = "lora_transformer_" + name.replace(".", "_")
        weights |= kohya(stem, *shape_of(layer))
        deltas[f"transformer.{name}"] = product(weights, stem, 2.0)
    weights["bundle_emb.word.clip_l"] = random(1, 32)
    assert_adds(editor, tmp_path, weights, deltas, unmatched=("bundle_emb.word.clip_l",))


def test_old_names_of_text_encoders(editor_of, tmp_path):
    editor = editor_of("instruct_pix2pix")
    weights, deltas = {}, {}
    place = "encoder.layers.1.self_attn"
    own = place if hasattr(editor.module["text_encoder"], "encoder") else f"text_model.{place}"
    for old, new in (("to_q", "q_proj"), ("to_k", "k_proj"), ("to_v", "v_proj"), ("to_out", "out_proj")):
        stem = f"text_encoder.text_model.{place}.{old}_lora"
        width = editor.module.get_submodule(f"text_encoder.{own}.{new}").in_features
        weights |= {f"{stem}.down.weight": random(RANK, width), f"{stem}.up.weight": random(width, RANK)}
        deltas[f"text_encoder.{own}.{new}"] = product(weights, stem, 1.0, "down", "up")
    assert_adds(editor, tmp_path, weights, deltas)


def test_a_layer_that_is_named_twice_takes_its_own_name(editor_of, tmp_path):
    """Some files hold everything twice; diffusers takes what has its own names."""
    editor = editor_of("flux_kontext")
    name = "transformer.transformer_blocks.0.attn.to_out.0"
    other = "lora_unet_double_blocks_0_img_attn_proj"
    weights = kohya(other, 32, 32) | peft(name, 32, 32)
    deltas = {name: product(weights, name, 1.0, "lora_A", "lora_B")}
    assert_adds(editor, tmp_path, weights, deltas, unmatched=(other,))


def plain_names(*modules):
    """The aliases of bare modules, by their full names."""
    return module_aliases({name: nn.Linear(2, 2) for name in modules})


def test_dots_and_underscores_are_one():
    known = plain_names("transformer.blocks.0.attn.to_q")
    stems = ("transformer.blocks.0.attn.to_q", "lora_unet_blocks_0_attn_to_q", "diffusion_model.blocks.0.attn.to_q")
    for stem in (*stems, "base_model.model.transformer.blocks.0.attn.to_q", "blocks_0.attn_to_q"):
        (piece,) = resolve_layer(stem, known)
        assert (piece.place, piece.rows) == ("transformer.blocks.0.attn.to_q", None), stem
    assert resolve_layer("transformer.blocks.1.attn.to_q", known) is None


def test_layers_in_one_piece_are_shared_out_in_their_order():
    known = plain_names(*(f"unet.attn.{name}" for name in ("to_q", "to_k", "to_v")))
    pieces = resolve_layer("lora_unet_attn_to_qkv", known)
    assert [(piece.place, piece.rows.tolist()) for piece in pieces] == [
        ("unet.attn.to_q", [0, 1]),
        ("unet.attn.to_k", [2, 3]),
        ("unet.attn.to_v", [4, 5]),
    ]
    assert not has_diffusers_name("lora_unet_attn_to_qkv", pieces)


def test_a_text_encoder_that_a_pipeline_lacks_is_the_one_before():
    known = plain_names("text_encoder.q_proj", "text_encoder_2.q_proj")
    places = {stem: resolve_layer(f"{stem}q_proj", known)[0].place for stem in ("lora_te1_", "lora_te2_", "lora_te3_")}
    assert [place.partition(".")[0] for place in places.values()] == ["text_encoder", *["text_encoder_2"] * 2]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(3, 5), (5, 3)),
        (nn.Conv2d(4, 6, 3, groups=2), (6, 2, 3, 3)),
        (nn.LayerNorm(7), (7,)),
        (nn.Identity(), ()),
    ],
)
def test_the_shape_of_a_layer_is_that_of_its_weight(layer, shape):
    assert shape_of(layer) == shape
