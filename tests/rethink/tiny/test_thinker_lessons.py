"""What the built-in thinker learns from: what a lesson ends with, and of which kinds lessons are."""

from random import Random

import pytest

from rethink.builtin import THINKER_FOLDER
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.tiny import sample_task, teacher
from rethink.tiny.tasks import WIDE
from rethink.tiny.teacher import plain_requests
from rethink.tiny.thinker_lessons import (
    EXPECTED,
    LIGHT,
    SHARES,
    LessonCollator,
    Lessons,
    as_conversation,
    ask_for_request,
    draw_lesson,
)
from rethink.training.conversation_batches import IGNORED


@pytest.fixture(scope="module")
def chat():
    return load_thinker(THINKER_FOLDER, dtype="fp32")


def test_a_lesson_on_language_ends_with_the_plain_request(chat):
    tasks = [sample_task(seed, WIDE, split="train") for seed in range(3)]
    batch = LessonCollator(chat, pack=False)([ask_for_request(task) for task in tasks])
    for task, labels in zip(tasks, batch["labels"]):
        learned = chat.tokenizer.decode(labels[labels != IGNORED])
        assert learned.startswith("<think>Source: ")
        assert learned.endswith(f". Asked: {plain_requests(task)[0]}{EXPECTED}")  # and no end of the answer


@pytest.mark.parametrize("kind", sorted({kind for shares in SHARES.values() for kind in shares} - {"real edit"}))
def test_other_lessons_are_learned_to_their_end(chat, kind):
    lesson = draw_lesson(Random(0), kind)
    labels = LessonCollator(chat, pack=False)([lesson])["labels"]
    ends = labels[labels != IGNORED][-1] == chat.tokenizer.eos_token_id
    assert ends == (not kind.startswith("request")) == (not lesson.cut)


def test_a_batch_has_one_kind_of_lesson():
    lessons = iter(Lessons(4, SHARES["wide"]))
    for _ in range(6):
        batch = [next(lessons) for _ in range(4)]
        assert len({(lesson.cut, len(lesson.conversation.images)) for lesson in batch}) == 1 or not batch[0].cut


def test_real_edits_are_learned_from_where_there_are_any():
    made = [as_conversation(teacher.draw_example(seed), Random(seed)) for seed in range(3)]
    lessons = iter(Lessons(2, {"real edit": 1.0}, made))
    assert {id(next(lessons).conversation) for _ in range(40)} == {id(each) for each in made}
    assert "real edit" in SHARES["thinker"] and "real edit" not in Lessons(2, SHARES["thinker"]).shares


def test_the_shares_of_every_stage_are_all_there_is():
    for stage, shares in SHARES.items():
        assert abs(sum(shares.values()) - 1) < 1e-9, stage


def test_some_instructions_lack_words_that_they_can_do_without():
    shortened = []
    for seed in range(60):
        example = teacher.draw_example(seed)
        question = as_conversation(example, Random(seed)).messages[0]["content"]
        asked = " ".join(part.get("text", "") for part in question)
        words = example.task.instruction.split()
        needed = [word for word in words if word.lower() not in LIGHT]
        assert all(word in asked for word in needed)
        if example.task.instruction not in asked:
            shortened.append(len(words) - len(needed))
    assert 3 <= len(shortened) <= 30 and min(shortened) > 0
