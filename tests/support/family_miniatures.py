"""How a miniature with random weights of every family is built that its diffusers pipeline samples."""

from pathlib import Path

import torch

from tests.support.miniatures import SD_NOISE, clip_text_config, write_tokenizer

SIDE = 64  # of the pictures they work at, once `shrink` has been called
_WORDS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_DOWN, _UP = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
_FLUX = {"patch_size": 1, "num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2, "attention_head_dim": 16}
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content if m.content is string else m.content[0].text }}<|im_end|>\n{% endfor %}"
)


def clip_tokenizer(folder):
    import transformers

    return transformers.CLIPTokenizer.from_pretrained(str(write_tokenizer(folder)))


def clip_text(tokenizer, projected=False):
    import transformers

    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(clip_text_config(tokenizer)).eval()


def byte_tokenizer():
    """Qwen's tokenizer with a token a byte."""
    import transformers

    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokenizer = transformers.Qwen2Tokenizer(
        vocab={letter: i for i, letter in enumerate(letters)},
        merges=[],
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(_WORDS),
    )
    tokenizer.chat_template = _CHAT
    return tokenizer


def t5():
    import tokenizers
    import transformers

    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3, "blue": 4}, "<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=16
    )
    config = transformers.T5Config(vocab_size=8, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return tokenizer, transformers.T5EncoderModel(config).eval()


def sight(kind):
    """(processor, model) of a vision-language model: "Qwen2_5_VL" or "Qwen3VL"."""
    import transformers

    tokenizer = byte_tokenizer()
    ids = {
        name: tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("image_pad", "video_pad", "vision_start", "vision_end")
    }
    family = "Qwen2VL" if kind == "Qwen2_5_VL" else "Qwen3VL"
    sizes = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    images = transformers.Qwen2VLImageProcessor(**sizes, min_pixels=256, max_pixels=1024)
    videos = getattr(transformers, f"{family}VideoProcessor")(**sizes)
    processor = getattr(transformers, f"{family}Processor")(
        image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=_CHAT
    )
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": [2, 3, 3]},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "num_heads": 2,
        "intermediate_size": 16,
        "patch_size": 8,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [0],
        "window_size": 32,
        "deepstack_visual_indexes": [],
        "num_position_embeddings": 16,
    }
    config = getattr(transformers, f"{kind}Config")(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    return tokenizer, processor, model


def flat_vae(kind="AutoencoderKL", channels=4, **options):
    import diffusers

    return getattr(diffusers, kind)(
        block_out_channels=(32, 32),
        layers_per_block=1,
        latent_channels=channels,
        sample_size=SIDE,
        down_block_types=_DOWN,
        up_block_types=_UP,
        norm_num_groups=8,
        **options,
    ).eval()


def deep_vae(kind):
    import diffusers

    sizes = {"AutoencoderKLQwenImage": {"dim_mult": [1, 1], "temperal_downsample": [False]}}.get(
        kind, {"dim_mult": [1, 1, 1, 1], "temperal_downsample": [False, True, True]}
    )
    return getattr(diffusers, kind)(
        base_dim=8,
        z_dim=4,
        num_res_blocks=1,
        latents_mean=[0.1, 0.2, 0.0, -0.1],
        latents_std=[1.0, 1.2, 0.9, 1.1],
        **sizes,
    ).eval()


def flow(**options):
    import diffusers

    return diffusers.FlowMatchEulerDiscreteScheduler(**{"use_dynamic_shifting": True, **options})


def xl(class_name, folder):
    import diffusers

    tokens = clip_tokenizer(folder)
    unet = diffusers.UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=8 if "Instruct" in class_name else 4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        norm_num_groups=8,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )
    return getattr(diffusers, class_name)(
        vae=flat_vae(scaling_factor=0.13025),
        unet=unet,
        tokenizer=tokens,
        tokenizer_2=clip_tokenizer(folder),
        text_encoder=clip_text(tokens),
        text_encoder_2=clip_text(tokens, projected=True),
        add_watermarker=False,
        scheduler=diffusers.EulerDiscreteScheduler(**SD_NOISE),
    )


def cosxl(class_name, folder):
    import diffusers

    pipeline = xl(class_name, folder)
    pipeline.scheduler = diffusers.EDMEulerScheduler(
        sigma_min=0.002, sigma_max=120.0, sigma_data=1.0, prediction_type="v_prediction", sigma_schedule="exponential"
    )
    pipeline.is_cosxl_edit = True
    return pipeline


def flux(class_name, folder):
    import diffusers

    tokens = clip_tokenizer(folder)
    tokenizer_2, text_2 = t5()
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
        **_FLUX,
    )
    return getattr(diffusers, class_name)(
        scheduler=flow(),
        vae=flat_vae(scaling_factor=0.36, shift_factor=0.11),
        text_encoder=clip_text(tokens),
        tokenizer=tokens,
        text_encoder_2=text_2,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


def qwen(class_name, folder):
    import diffusers

    tokenizer, processor, text = sight("Qwen2_5_VL")
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
    )
    return getattr(diffusers, class_name)(
        scheduler=flow(),
        vae=deep_vae("AutoencoderKLQwenImage"),
        text_encoder=text,
        tokenizer=tokenizer,
        processor=processor,
        transformer=transformer,
    )


def longcat(class_name, folder):
    import diffusers

    tokenizer, processor, text = sight("Qwen2_5_VL")
    transformer = diffusers.LongCatImageTransformer2DModel(
        in_channels=64, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 6, 6], **_FLUX
    )  # its pipeline counts on 16 latent channels
    return getattr(diffusers, class_name)(
        scheduler=flow(),
        vae=flat_vae(channels=16, scaling_factor=0.36, shift_factor=0.11),
        text_encoder=text,
        tokenizer=tokenizer,
        text_processor=processor,
        transformer=transformer,
    )


def _flux2_parts(width, guided):
    import diffusers

    vae = flat_vae("AutoencoderKLFlux2")
    vae.bn.running_mean.uniform_(-0.1, 0.1)
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16, joint_attention_dim=3 * width, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=guided, **_FLUX
    )
    return {"scheduler": flow(), "vae": vae, "transformer": transformer}


def flux2(class_name, folder):
    import diffusers
    import transformers

    tokenizer = byte_tokenizer()
    images = transformers.PixtralImageProcessor(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8})
    processor = transformers.PixtralProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=8,
        chat_template=_CHAT,
        image_token="<|image_pad|>",
        image_break_token="<|vision_start|>",
        image_end_token="<|vision_end|>",
    )
    config = transformers.Mistral3Config(
        text_config={
            "model_type": "mistral",
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 30,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "patch_size": 8,
            "image_size": 64,
            "head_dim": 8,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
    )
    text = transformers.Mistral3ForConditionalGeneration(config).eval()
    return getattr(diffusers, class_name)(text_encoder=text, tokenizer=processor, **_flux2_parts(16, True))


def klein(class_name, folder, is_distilled=False):
    import diffusers
    import transformers

    tokenizer = byte_tokenizer()
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )
    text = transformers.Qwen3ForCausalLM(config).eval()
    return getattr(diffusers, class_name)(
        text_encoder=text, tokenizer=tokenizer, is_distilled=is_distilled, **_flux2_parts(16, False)
    )


def distilled_klein(class_name, folder):
    return klein(class_name, folder, is_distilled=True)


def joy(class_name, folder):
    import diffusers

    tokenizer, processor, text = sight("Qwen3VL")
    transformer = getattr(diffusers, class_name.replace("Pipeline", "Transformer3DModel"))(
        in_channels=4, hidden_size=32, num_attention_heads=2, text_dim=32, num_layers=2, rope_dim_list=[4, 6, 6]
    )
    return getattr(diffusers, class_name)(
        scheduler=flow(use_dynamic_shifting=False, shift=1.5),
        vae=deep_vae("AutoencoderKLWan"),
        text_encoder=text,
        tokenizer=tokenizer,
        processor=processor,
        transformer=transformer,
    )


MINIATURES = {
    "instruct_pix2pix_xl": (xl, "StableDiffusionXLInstructPix2PixPipeline"),
    "cosxl_edit": (cosxl, "StableDiffusionXLInstructPix2PixPipeline"),
    "sdedit_xl": (xl, "StableDiffusionXLImg2ImgPipeline"),
    "sdedit_flux": (flux, "FluxImg2ImgPipeline"),
    "flux_kontext": (flux, "FluxKontextPipeline"),
    "qwen_image_edit": (qwen, "QwenImageEditPipeline"),
    "qwen_image_edit_plus": (qwen, "QwenImageEditPlusPipeline"),
    "longcat_image_edit": (longcat, "LongCatImageEditPipeline"),
    "flux2": (flux2, "Flux2Pipeline"),
    "flux2_klein": (klein, "Flux2KleinPipeline"),
    "flux2_klein_distilled": (distilled_klein, "Flux2KleinPipeline"),
    "joyimage_edit": (joy, "JoyImageEditPipeline"),
    "joyimage_edit_plus": (joy, "JoyImageEditPlusPipeline"),
}


def make(kind: str, folder: Path):
    """The pipeline; `folder` is where its tokenizers may lie."""
    torch.manual_seed(0)
    build, class_name = MINIATURES[kind]
    with torch.no_grad():
        pipeline = build(class_name, folder / "tokenizer")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write(kind: str, folder: Path) -> Path:
    """The pipeline as a diffusers folder."""
    make(kind, folder.with_name(folder.name + "-parts")).save_pretrained(folder)
    return folder
