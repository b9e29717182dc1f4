"""The built-in thinker: a Qwen3-VL of a few million weights, its tokens, and the lessons it is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from ..thinkers.critique import POLISH, SPLIT, question
from ..thinkers.loading import TEMPLATE_FILE
from ..training.conversations import Conversation
from ..training.loop import write_json
from . import teacher
from .scene import SIZE

PATCH, MERGE = 16, 2  # 16 tokens a picture
VOCABULARY = 1024
TEXT = {"hidden_size": 160, "intermediate_size": 448, "num_hidden_layers": 6, "num_attention_heads": 5, "head_dim": 32}
VISION = {"hidden_size": 128, "intermediate_size": 384, "depth": 4, "num_heads": 4}
POLISHED, SPLIT_UP, WITH_DEMANDS = 0.05, 0.03, 0.08  # shares of lessons that are not plain critiques
SPECIAL = {
    "pad": "<|pad|>", "start": "<|im_start|>", "end": "<|im_end|>", "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>", "image": "<|image_pad|>", "video": "<|video_pad|>",
}  # fmt: skip
# What every answer repeats is one token each; they are ordinary text, not special.
FORMS = (
    "<think>", "</think>\n", '<score>{"semantic": ', ', "quality": ', "}</score>\n", "<answer>", "</answer>",
    "<checklist>\n", "</checklist>", "Source: ", ". Asked: ", ". Expected: ", ". Edited: ", ". Done: ", ". Else kept: ",
)  # fmt: skip
CHAT_TEMPLATE = """\
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}\
{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
{%- if part.type == 'text' %}{{ part.text }}{% else %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% endif %}\
{%- endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


@dataclass(frozen=True)
class Lessons:
    """`lessons[index]` is a Conversation, drawn anew from its index; one in `1 / share` comes from `edits`, trajectories
    of real edits."""

    edits: tuple[Conversation, ...] = ()
    share: float = 0.0

    def __getitem__(self, index: int) -> Conversation:
        rng = Random(f"lessons-{index}")
        if self.edits and rng.random() < self.share:
            return rng.choice(self.edits)
        return conversation(teacher.draw_lesson(index), rng)


def conversation(lesson: teacher.Lesson, rng: Random) -> Conversation:
    """A lesson as what is asked and what is to be answered: mostly a critique."""
    task, draw = lesson.task, rng.random()
    if draw < POLISHED:
        return Conversation(question(POLISH, instruction=task.instruction), (lesson.source,), teacher.polished(task))
    if draw < POLISHED + SPLIT_UP:
        return Conversation(question(SPLIT, instruction=task.instruction), (lesson.source,), teacher.split_up(task))
    demands = teacher.split(task) if draw > 1 - WITH_DEMANDS else ()
    asked = question(teacher.TEMPLATE, instruction=task.instruction, prompt=lesson.prompt, demands=demands)
    return Conversation(asked, (lesson.source, lesson.edited), teacher.answer(lesson, with_demands=bool(demands)))


def write_folder(folder: Path) -> None:
    """Everything of the thinker's folder but the weights: configuration, tokens, how pictures and questions are put."""
    from transformers import Qwen3VLConfig

    tokenizer = make_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    Qwen3VLConfig(**model_config(tokenizer)).save_pretrained(folder)
    mean = [0.5, 0.5, 0.5]
    pictures = {
        "size": {"shortest_edge": SIZE * SIZE, "longest_edge": SIZE * SIZE}, "patch_size": PATCH, "temporal_patch_size": 2,
        "merge_size": MERGE, "image_mean": mean, "image_std": mean, "do_convert_rgb": True,
    }  # fmt: skip
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "Qwen2VLImageProcessor", **pictures})
    write_json(folder / "video_preprocessor_config.json", {"video_processor_type": "Qwen3VLVideoProcessor", **pictures})
    write_json(folder / "processor_config.json", {"processor_class": "Qwen3VLProcessor"})
    (folder / TEMPLATE_FILE).write_text(teacher.TEMPLATE, encoding="utf-8")


def model_config(tokenizer) -> dict:
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(SPECIAL[name]) for name in SPECIAL}
    text = TEXT | {
        "vocab_size": len(tokenizer), "num_key_value_heads": TEXT["num_attention_heads"], "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [6, 5, 5], "mrope_interleaved": True,
        },
        "tie_word_embeddings": True, "pad_token_id": ids["pad_token_id"], "eos_token_id": ids["end_token_id"],
    }  # fmt: skip
    vision = VISION | {
        "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": 2, "out_hidden_size": TEXT["hidden_size"],
        "num_position_embeddings": (SIZE // PATCH) ** 2, "deepstack_visual_indexes": [1],
    }  # fmt: skip
    seeing = {name: ids[name] for name in ids if name.split("_")[0] in ("vision", "image", "video")}
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": True, **seeing}


def make_model(folder: Path):
    """An untrained model of the folder's configuration."""
    from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    text = model.config.text_config
    model.generation_config = GenerationConfig(eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id)
    return model


def make_tokenizer():
    """Byte-level tokens: every word of the built-in world is one, and any other text can be spelt."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learner = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(r" ?[\p{L}'-]+| ?\d| ?[^\s\p{L}\d]|\s"), "isolated")
    learner.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    learner.train_from_iterator(_corpus(), trainer)
    learner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL.values()])
    learner.add_tokens([AddedToken(form, normalized=False) for form in FORMS])
    return PreTrainedTokenizerFast(
        tokenizer_object=learner, eos_token=SPECIAL["end"], pad_token=SPECIAL["pad"], chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False, model_max_length=4096,
        extra_special_tokens={
            "image_token": SPECIAL["image"], "video_token": SPECIAL["video"],
            "vision_bos_token": SPECIAL["vision_start"], "vision_eos_token": SPECIAL["vision_end"],
        },
    )  # fmt: skip


def _corpus():
    """Every wording and every word, so often that each becomes one token."""
    from .scene import BACKGROUNDS, COLORS, PLACES, SHAPES, SIZES
    from .tasks import TABLES
    from .wordings import SYNONYMS

    lines = [*COLORS, *BACKGROUNDS, *SHAPES, *SIZES, *PLACES, *SYNONYMS, *(o for others in SYNONYMS.values() for o in others)]
    lines += ["bigger smaller black nothing something unclear anywhere background yes no a an the on at", teacher.TEMPLATE]
    lines += [line for tables in TABLES.values() for table in tables.values() for ls in table.values() for line in ls]
    lines += [POLISH, SPLIT, "Statements to check:", "user assistant"]
    words = sorted({word for line in lines for word in line.replace("{", " {").replace("}", "} ").split() if "{" not in word})
    for word in words:
        yield from [f" {word}", word] * 3
