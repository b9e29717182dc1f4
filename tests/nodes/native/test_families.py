"""What tells ComfyUI's own models apart."""

from types import SimpleNamespace

import pytest

from tests.support.hosts import PACK_ROOT

FLUX = {"image_model": "flux", "in_channels": 16, "guidance_embed": True}


QWEN = {"image_model": "qwen_image", "in_channels": 64}


OF_2511 = QWEN | {"default_ref_method": "index_timestep_zero"}


IN_LAYERS = QWEN | {"default_ref_method": "negative_index", "use_additional_t_cond": True}


PLUS, FIRST, NAMED_2511 = "Qwen-Image-Edit-Plus", "Qwen-Image-Edit", "Qwen-Image-Edit-Plus 2511"


def of_class(name, **attributes):
    return type(name, (), attributes)()


def detect(part, kind, config, tokenizer, latents, title="auto", vae=None):
    """What `detect` makes of a model that ComfyUI loads as `kind` from a file that says `config`.

    latents: channels and dimensions of the model's latents, and of the VAE's where they are not those of `vae`.
    """
    wanted = SimpleNamespace(latent_channels=latents[0], latent_dimensions=latents[1])
    config = of_class(kind, unet_config=config)
    model = SimpleNamespace(model=SimpleNamespace(model_config=config), get_model_object={"latent_format": wanted}.get)
    channels, dimensions = vae or latents
    clip = SimpleNamespace(tokenizer=of_class(tokenizer))
    vae = SimpleNamespace(first_stage_model=object(), latent_channels=channels, latent_dim=dimensions)
    return part("nodes.native.families").detect(model, clip, vae, title).title


@pytest.mark.parametrize(
    ("title", "kind", "config", "tokenizer", "latents"),
    [
        ("InstructPix2Pix", "SD15_instructpix2pix", {"in_channels": 8}, "SD1Tokenizer", (4, 2)),
        ("SDXL InstructPix2Pix / CosXL-Edit", "SDXL_instructpix2pix", {"in_channels": 8}, "SDXLTokenizer", (4, 2)),
        ("FLUX.1 Kontext", "Flux", FLUX, "FluxTokenizer", (16, 2)),
        (PLUS, "QwenImage", QWEN, "QwenImageTokenizer", (16, 3)),
        (PLUS, "QwenImage", OF_2511, "QwenImageTokenizer", (16, 3)),
        ("FLUX.2 dev", "Flux2", FLUX, "Flux2Tokenizer", (128, 2)),
        ("FLUX.2 Klein", "Flux2", {"guidance_embed": False}, "KleinTokenizer", (128, 2)),
        ("FLUX.2 Klein", "Flux2", {"guidance_embed": False}, "KleinTokenizer8B", (128, 2)),
        ("LongCat-Image-Edit", "LongCatImage", {"guidance_embed": False}, "LongCatImageTokenizer", (16, 2)),
        ("OmniGen2", "Omnigen2", {"image_model": "omnigen2"}, "Omnigen2Tokenizer", (16, 2)),
    ],
)
def test_a_model_tells_its_family(part, title, kind, config, tokenizer, latents):
    assert detect(part, kind, config, tokenizer, latents) == title
    assert detect(part, kind, config, tokenizer, latents, title) == title


@pytest.mark.parametrize("title", [FIRST, NAMED_2511])
def test_what_looks_alike_can_be_named(part, title):
    assert detect(part, "QwenImage", QWEN, "QwenImageTokenizer", (16, 3), title) == title


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "SD15", "config": {"in_channels": 4}}, "model: found a SD15 model with 4 input channels, which"),
        (
            {"config": FLUX | {"in_channels": 96}},
            "model: found a Flux model of kind flux with 96 input channels, which",
        ),
        ({"kind": "QwenImage", "config": IN_LAYERS}, "model: found a QwenImage model of kind qwen_image with 64 input"),
        (
            {"kind": "QwenImage", "config": OF_2511, "title": FIRST},
            f"kind: is {FIRST}, but the model is {PLUS}; choose",
        ),
        (
            {"tokenizer": "SD1Tokenizer"},
            "clip: found SD1, the text encoder of another model; FLUX.1 Kontext needs CLIP-L",
        ),
        (
            {"vae": (4, 2)},
            "vae: makes latents of 4 channels, but FLUX.1 Kontext takes 16 channels; it belongs to another",
        ),
        ({"vae": (16, 3)}, "vae: makes latents of 16 channels over time, but FLUX.1 Kontext takes 16 channels; it"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(part, RethinkError, change, sentence):
    kontext = {"kind": "Flux", "config": FLUX, "tokenizer": "FluxTokenizer", "latents": (16, 2)}
    with pytest.raises(RethinkError) as refusal:
        detect(part, **{**kontext, **change})
    assert str(refusal.value).startswith(sentence) and "\n" not in str(refusal.value)


def test_every_kind_can_be_chosen_and_stands_in_the_help(classes, part):
    titles = [family.title for family in part("nodes.native.families").NATIVE_FAMILIES]
    options = classes["RethinkEditorFromModel"].describe()["input"]["required"]["kind"][1]["options"]
    assert options == ["auto", *titles] and len(set(titles)) == len(titles)
    table = (PACK_ROOT / "web" / "docs" / "RethinkEditorFromModel.md").read_text(encoding="utf-8")
    assert [title for title in titles if f"| {title} |" not in table and f"| {title} (" not in table] == []
