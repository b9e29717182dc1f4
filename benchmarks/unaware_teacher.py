"""Train a thinker by SFT with a teacher that does not know the editor: not a benchmark, but the start of `learn_thinker.py`.

EditThinker's first stage learns from GPT-4.1, which sees what is wrong and knows what is meant, but not which words the given editor
understands (arXiv 2512.05965, section 4). This teacher is the same: it judges exactly and phrases the request in any words that people
use for it in the built-in world, of which the editor has learned a third. Reinforcement has to learn what the editor understands.
"""

from dataclasses import replace
from random import Random

from rethink.thinkers.critique import TEMPLATE, critique_messages
from rethink.thinkers.critique_format import format_critique
from rethink.tiny.phrasings import UNUSUAL_WORDINGS, WORDINGS
from rethink.tiny.tasks import WIDE, with_articles, with_synonyms
from rethink.tiny.teacher import criticize, draw_example, plain_words
from rethink.training.conversations import Conversation
from rethink.training.thinker_settings import SFTConfig
from rethink.training.thinker_sft import train

KNOWN = 1 / 3  # share of its prompts in words from the editor's training
CONFIG = SFTConfig(batch=16, accumulate=2, learning_rate=2e-4, checkpointing=False, precision="no", workers=0)


class Lessons:
    """A sequence of Conversations: critiques of drawn edits of tasks in wide English."""

    def __getitem__(self, number):
        example = draw_example(number, level=WIDE)
        task, critique = example.task, criticize(example.task, example.observation, example.prompt)
        if critique.next_prompt != example.prompt:
            critique = replace(critique, next_prompt=say(task, Random(f"said-{number}")))
        question = critique_messages(TEMPLATE, instruction=task.instruction, prompt=example.prompt)
        return Conversation(question, (example.source, example.edited), format_critique(critique))


def say(task, rng):
    """What the task asks for, in words that the teacher happens to choose."""
    words = plain_words(task)
    if rng.random() < KNOWN:
        return with_articles(rng.choice(WORDINGS[task.kind]).format(**words))
    words = {name: with_synonyms(rng, text) for name, text in words.items()}
    return with_articles(rng.choice(UNUSUAL_WORDINGS[task.kind]).format(**words))


def teach(chat, steps, work):
    """The model of a TransformersChat after this many steps."""
    return train(chat, Lessons(), CONFIG, work, length=steps * CONFIG.batch * CONFIG.accumulate)
