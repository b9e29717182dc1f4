"""Tiny vision-language models with random weights in transformers folders, opened by the code that opens large ones."""

import json
from pathlib import Path

import pytest
import torch

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
BYTES = 256


def write_thinker(folder: Path, family: str = "Qwen3VL") -> Path:
    """A Qwen3VL or Qwen2_5_VL: two layers, patches of four pixels, every byte a token, an answer that never ends."""
    import transformers

    torch.manual_seed(0)
    tokens = {mark: BYTES + index for index, mark in enumerate(MARKS)}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": BYTES + len(MARKS),
        "max_position_embeddings": 65536,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": tokens["<|endoftext|>"],
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
    }
    vision |= {"out_hidden_size": 32, "temporal_patch_size": 2}
    if family == "Qwen3VL":
        vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    else:
        vision |= {"window_size": 16, "fullatt_block_indexes": [1]}
    marks = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    marks |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    config = getattr(transformers, f"{family}Config")(
        text_config=text | {"rope_parameters": rope, "rope_scaling": rope},
        vision_config=vision,
        tie_word_embeddings=False,
        **{name: tokens[mark] for name, mark in marks.items()},
    )
    model = getattr(transformers, f"{family}ForConditionalGeneration")(config).eval()
    for name, weights in model.named_parameters():
        sharp = any(part in name for part in ("q_proj", "k_proj", "qkv"))  # so that answers depend on what is seen
        torch.nn.init.normal_(weights, 1 if "norm" in name and name.endswith("weight") else 0, 1.0 if sharp else 0.4)
    model.save_pretrained(folder)
    write_byte_tokenizer(folder)
    processor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 4,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": 64,
        "max_pixels": 4096,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def write_world_thinker(folder: Path) -> Path:
    """A Qwen3VL with the tokens and the reading of the built-in thinker, far smaller, and with random weights."""
    from rethink.tiny import build_thinker

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_thinker, "TEXT", build_thinker.TEXT | small)
        patch.setattr(build_thinker, "VISION", {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2})
        build_thinker.write_folder(folder)
        build_thinker.make_model(folder).save_pretrained(folder)
    return folder


def write_byte_tokenizer(folder: Path) -> None:
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=MARKS[1:],
        chat_template=TEMPLATE,
    )
    fast.save_pretrained(folder)
