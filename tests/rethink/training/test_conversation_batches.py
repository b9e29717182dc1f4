"""What is learned is the answer, after the question as it is asked."""

from random import Random

import pytest
import torch

from rethink.thinkers.backends.local_folder import load_thinker
from rethink.tiny import teacher
from rethink.tiny.thinker_lessons import as_conversation
from rethink.training.conversation_batches import IGNORED, DataCollator
from rethink.training.conversations import load_images
from tests.support.miniature_thinkers import write_world_thinker


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    return load_thinker(write_world_thinker(tmp_path_factory.mktemp("thinker")), dtype="fp32")


def rows(count):
    examples = (teacher.draw_example(index) for index in range(count))
    return [{"conversation": as_conversation(example, Random(index))} for index, example in enumerate(examples)]


def test_what_is_learned_is_the_answer_after_the_question_as_it_is_asked(chat):
    row = rows(1)[0]["conversation"]
    encoded = DataCollator(chat, pack=False).encode(row)
    tokens, labels = encoded.token_inputs["input_ids"], encoded.token_inputs["labels"]
    asked = chat.reader(row.messages, load_images(row)).tokens
    assert torch.equal(tokens[: len(asked)], asked) and (labels[: len(asked)] == IGNORED).all()
    assert torch.equal(labels[len(asked) :], tokens[len(asked) :])
    assert chat.tokenizer.decode(labels[len(asked) :]) == row.answer + chat.tokenizer.eos_token


def test_a_packed_row_is_worth_its_conversations(chat):
    """What stands before a conversation in its row must not be seen by it."""
    batch = rows(3)
    with torch.no_grad():
        packed = chat.module(**DataCollator(chat, pack=True)(batch), use_cache=False).logits[0]
        start = 0
        for row in batch:
            alone = chat.module(**DataCollator(chat, pack=False)([row])).logits[0]
            torch.testing.assert_close(packed[start : start + len(alone)], alone, rtol=1e-3, atol=1e-4)
            start += len(alone)
    assert start == len(packed)
