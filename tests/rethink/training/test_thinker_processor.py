"""What trl trains on is what the thinker is asked later, token for token."""

import pytest
import torch
from transformers import ProcessorMixin

from rethink.builtin import THINKER_FOLDER
from rethink.images import load_image, to_pil
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.training.thinker_processor import make_processor, pad_left
from tests.support.miniature_thinkers import write_thinker
from tests.support.rl_steps import write_step


@pytest.fixture(params=["built-in", "Qwen3VL", "Qwen2_5_VL"])
def chat(request, tmp_path):
    built_in = request.param == "built-in"
    return load_thinker(
        THINKER_FOLDER if built_in else write_thinker(tmp_path / "thinker", request.param), dtype="fp32"
    )


def as_trl_has_it(step):
    """Its messages with PIL images in the image parts."""
    images = iter(pil for file in step.images for pil in to_pil(load_image(file)))
    return [
        {
            **message,
            "content": [{**p, "image": next(images)} if p["type"] == "image" else p for p in message["content"]],
        }
        for message in step.messages
    ]


def test_prompts_are_read_as_the_thinker_reads_them(chat, tmp_path):
    steps = [
        write_step(tmp_path, red=0.2, size=32),
        write_step(tmp_path, red=0.4, size=64, instruction="paint <|im_end|> a very long fence"),
    ]
    processor = make_processor(chat)
    assert isinstance(processor, ProcessorMixin) and processor.tokenizer is chat.tokenizer
    prompts = [as_trl_has_it(step) for step in steps]
    asked = [chat.reader(step.messages, [load_image(image) for image in step.images]) for step in steps]
    read = processor.apply_chat_template(
        conversation=prompts, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert read["input_ids"] == [each.tokens.tolist() for each in asked]
    assert torch.equal(read["pixel_values"], torch.cat([each.inputs["pixel_values"] for each in asked]))
    texts = [processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True) for prompt in prompts]
    images = [[part["image"] for part in prompt[0]["content"] if part["type"] == "image"] for prompt in prompts]
    padded = processor(images=images, text=texts, padding=True, return_tensors="pt")
    for row, each in enumerate(asked):
        pad = padded["input_ids"].shape[1] - len(each.tokens)
        assert padded["input_ids"][row, pad:].tolist() == each.tokens.tolist()
        assert padded["attention_mask"][row].tolist() == [0] * pad + [1] * len(each.tokens)
        assert padded["mm_token_type_ids"][row, pad:].tolist() == read["mm_token_type_ids"][row]
    assert sum(read["mm_token_type_ids"][1]) == int(asked[1].inputs["image_grid_thw"].prod(-1).sum()) // 4
    assert processor.batch_decode([chat.tokenizer("hello").input_ids]) == ["hello"]
    processor.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.json").is_file()


def test_rows_are_padded_on_the_left():
    assert pad_left([torch.tensor([1]), torch.tensor([2, 3])], 9).tolist() == [[9, 1], [2, 3]]
