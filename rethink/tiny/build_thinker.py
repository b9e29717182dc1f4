"""The built-in thinker: a Qwen3-VL of a few million weights, its tokens, and the runs of real edits to learn from."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from ..think_job import ThinkJob, start_run
from ..think_loop import LoopConfig, ThinkTask
from ..thinkers.critique import POLISH, SPLIT, TEMPLATE, critique_messages
from ..training import thinker_folders
from ..training.conversations import Conversation, unroll
from ..training.train_loop import write_json
from ..trajectory import RECORD_FILE, load_trajectory
from . import teacher
from .english.meanings import word_meanings
from .phrasings import SYNONYMS
from .scene import BACKGROUNDS, COLORS, PLACES, SHAPES, SIZE, SIZES, render
from .tasks import LEVELS, TABLES, WIDE, sample_task

PATCH, MERGE = 16, 2  # 16 tokens per image
VOCABULARY = 2048
TEXT = {"hidden_size": 160, "intermediate_size": 448, "num_hidden_layers": 6, "num_attention_heads": 5, "head_dim": 32}
VISION = {"hidden_size": 128, "intermediate_size": 384, "depth": 4, "num_heads": 4}
TURNS = 4  # of the trajectories to learn from
ASKED = (*LEVELS, WIDE)  # levels in them, in turn
SPECIAL = {
    "pad": "<|pad|>",
    "start": "<|im_start|>",
    "end": "<|im_end|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
}
EXTRA_TOKENS = {
    "image_token": "image",
    "video_token": "video",
    "vision_bos_token": "vision_start",
    "vision_eos_token": "vision_end",
}
# Phrases that every answer repeats are one token each; they are ordinary text, not special tokens.
FORMS = (
    "<think>",
    "</think>\n",
    '<score>{"semantic": ',
    ', "quality": ',
    "}</score>\n",
    "<answer>",
    "</answer>",
    "<checklist>\n",
    "</checklist>",
    *(f" {place}" for place in PLACES),
    "Source: ",
    ". Asked: ",
    ". Expected: ",
    ". Edited: ",
    ". Done: ",
    ". Else kept: ",
    *(f"\n{number}. " for number in range(2, 8)),
    *(f"{n}: {met}\n" for n in range(1, 8) for met in ("yes", "no")),
    "\n<boxes>\n",
    "</boxes>",
    *teacher.BOX_LINES.values(),
)
TEMPLATE_WORDS = "10 background yes no a an the on at and little off all over user assistant"
CHAT_TEMPLATE = """\
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}\
{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
{%- if part.type == 'text' %}{{ part.text }}{% else %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% endif %}\
{%- endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def write_folder(folder: Path) -> None:
    """Write the thinker's folder except the weights: configuration, tokens, image processing and chat template."""
    from transformers import Qwen3VLConfig

    tokenizer = make_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    Qwen3VLConfig(**model_config(tokenizer)).save_pretrained(folder)
    mean = [0.5, 0.5, 0.5]
    images = {
        "size": {"shortest_edge": SIZE * SIZE, "longest_edge": SIZE * SIZE},
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        "image_mean": mean,
        "image_std": mean,
        "do_convert_rgb": True,
    }
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "Qwen2VLImageProcessor", **images})
    write_json(folder / "video_preprocessor_config.json", {"video_processor_type": "Qwen3VLVideoProcessor", **images})
    write_json(folder / "processor_config.json", {"processor_class": "Qwen3VLProcessor"})
    add_old_names(folder)


def add_old_names(folder: Path) -> None:
    """Repeat under older names what transformers 5 has written under names that transformers 4 does not support."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = config["text_config"]["rope_parameters"]
    config["text_config"] |= {"rope_theta": rope["rope_theta"], "rope_scaling": rope}
    write_json(folder / "config.json", config)
    tokens = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    named = {name: tokens[name] for name in EXTRA_TOKENS}
    tokens |= {"tokenizer_class": "PreTrainedTokenizerFast", "extra_special_tokens": named}
    write_json(folder / "tokenizer_config.json", tokens)


def model_config(tokenizer) -> dict:
    """The arguments of Qwen3VLConfig: a model of a few million weights for the tokens of `make_tokenizer`."""
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(SPECIAL[name]) for name in SPECIAL}
    text = TEXT | {
        "vocab_size": len(tokenizer),
        "num_key_value_heads": TEXT["num_attention_heads"],
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "pad_token_id": ids["pad_token_id"],
        "eos_token_id": ids["end_token_id"],
    }
    vision = VISION | {
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": TEXT["hidden_size"],
        "num_position_embeddings": (SIZE // PATCH) ** 2,
        "deepstack_visual_indexes": [1],
    }
    seeing = {name: ids[name] for name in ids if name.split("_")[0] in ("vision", "image", "video")}
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": True, **seeing}


def make_model(folder: Path):
    """An untrained model with the folder's configuration."""
    from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    text = model.config.text_config
    model.generation_config = GenerationConfig(eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id)
    return model


def make_tokenizer():
    """Byte-level tokens: every word of the built-in world is one, and any other text can be spelled."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learner = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(r" ?[\p{L}'-]+| ?\d{1,2}| ?[^\s\p{L}\d]|\s"), "isolated")
    learner.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    learner.decoder = decoders.ByteLevel()
    learner.normalizer = _lower_case()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    learner.train_from_iterator(_corpus(), trainer)
    learner = _with_whole_words(learner)
    learner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL.values()])
    learner.add_tokens([AddedToken(text, normalized=False) for text in (*FORMS, *fixed_texts())])
    return PreTrainedTokenizerFast(
        tokenizer_object=learner,
        eos_token=SPECIAL["end"],
        pad_token=SPECIAL["pad"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
        extra_special_tokens={name: SPECIAL[kind] for name, kind in EXTRA_TOKENS.items()},
    )


def _lower_case():
    """The normalization of text: lowercase, with one kind of apostrophe. Whole tokens keep theirs."""
    from tokenizers import normalizers

    return normalizers.Sequence([normalizers.Replace("\u2019", "'"), normalizers.Lowercase()])


def _with_whole_words(learner):
    """The tokenizer with the words of wide English as separate tokens, so that synonyms need not be spelled."""
    from tokenizers import Tokenizer

    record = json.loads(learner.to_str())
    model = record["model"]
    model["vocab"] |= {f"\u0120{word}": 0 for word in sorted(word_meanings()) if f"\u0120{word}" not in model["vocab"]}
    model["vocab"] = {token: number for number, token in enumerate(model["vocab"])}
    model["ignore_merges"] = True  # a word that is a token is one, whatever its pieces are
    return Tokenizer.from_str(json.dumps(record))


def fixed_texts() -> list[str]:
    """The texts that every question of a kind repeats, one token each, so that a small model need not read them each
    time.

    If the wording of a question changes, the tokens have to be written again, but nothing has to be trained again.
    """
    gap, texts = "\0", {}
    plain = [critique_messages(template, instruction=gap, prompt=gap) for template in (TEMPLATE, POLISH, SPLIT)]
    for question in (*plain, critique_messages(TEMPLATE, instruction=gap, checklist=(gap,), regions=True)):
        texts |= {t: None for part in question[0]["content"] for t in part.get("text", "").split(gap) if len(t) > 1}
    return list(texts)


def _corpus():
    """The words of the built-in world, mostly those of answers and plain wordings, so that each becomes one token."""
    answers = [
        *COLORS,
        *BACKGROUNDS,
        *SHAPES,
        *SIZES,
        "bigger smaller black nothing something unclear anywhere",
        TEMPLATE_WORDS,
    ]
    tables = [table for level in TABLES.values() for table in level.values()]
    lines = [line for table in tables for lines in table.values() for line in lines]
    lines += [*SYNONYMS, *(other for others in SYNONYMS.values() for other in others)]
    for often, texts in ((5, answers), (1, lines)):
        words = {word for text in texts for word in re.sub(r"\{\w*\}", " ", text).split()}
        for word in sorted(words):
            yield from [f" {word}"] * 3 * often + [word] * often


def save(model, like: Path, out: Path) -> None:
    """The trained thinker as a folder that transformers 4 and 5 open."""
    thinker_folders.save(model, like, out)
    add_old_names(out)


def make_trajectories(editor, folder: Path, count: int, minutes: float, first: int, step: int, report) -> None:
    """Make trajectories of real edits, seeds first, first + step, …, scored by the teacher: how the editor fails."""
    until = time.monotonic() + 60 * minutes if minutes else float("inf")
    for seed in range(first, count, step):
        if time.monotonic() > until:
            break
        if (folder / f"{seed:06d}").exists():
            continue
        task = sample_task(seed, ASKED[seed % len(ASKED)], split="train")
        config = LoopConfig(turns=TURNS, seed=seed)
        thought = ThinkTask(render([task.source]), task.instruction, teacher.Teacher(task).thinker(), config=config)
        with start_run(folder / f"{seed:06d}", thought, {"kind": f"{task.level} {task.kind}"}) as run:
            ThinkJob(thought, editor).run(run, lambda trajectory: None)
        if seed // step % 100 == 0:
            report(f"trajectory {seed}")


def read_trajectories(folder: Path) -> list[Conversation]:
    """What the trajectories of `make_trajectories` teach: everything, as the teacher makes no mistakes. None without a
    folder."""
    return [each for file in sorted(folder.glob(f"*/{RECORD_FILE}")) for each in unroll(load_trajectory(file.parent))]
