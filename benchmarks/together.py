"""Work on many tasks at once, where each has to ask a local thinker now and then: no benchmark, but what makes them fast.

A small model answers fifty questions in the time of ten. So each task runs in a thread of its own until it asks; when all wait for an
answer, all are answered as one batch, padded on the left. One thread works at a time: nothing else has to know of threads.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from rethink.thinkers.transformers_chat import Draw, Encoded, takes_token_types

AT_ONCE = 48


def map_together(do, items, chat, at_once=AT_ONCE):
    """[do(asker, item) of every item], asker being a Chat that answers as `chat` does, a TransformersChat over a model of Qwen-VL's kind."""
    items = list(items)
    asker, numbers, found = Asker(chat, min(at_once, len(items))), iter(range(len(items))), {}

    def work():
        with asker.working():
            for number in numbers:
                found[number] = do(asker, items[number])

    with ThreadPoolExecutor(max(1, asker.running)) as threads:
        ended = [threads.submit(work) for _ in range(asker.running)]
        asker.serve()
        for each in ended:
            each.result()
    return [found[number] for number in range(len(items))]


@dataclass(frozen=True, eq=False)
class Question:
    encoded: Encoded
    max_tokens: int
    temperature: float
    seed: int
    answer: Future = field(default_factory=Future)


class Asker:
    """See `protocol.Chat`. running: threads that work, or wait for an answer."""

    placement = "elsewhere"

    def __init__(self, chat, running):
        self.name, self.running = chat.name, running
        self._chat, self._questions = chat, []
        self._work, self._changed = threading.Lock(), threading.Condition()

    @contextmanager
    def working(self):
        """All that a thread does."""
        with self._work:
            try:
                yield
            finally:
                with self._changed:
                    self.running -= 1
                    self._changed.notify_all()

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        question = Question(self._chat.reader(messages, images), max_tokens, temperature, seed)
        with self._changed:
            self._questions.append(question)
            self._changed.notify_all()
        self._work.release()
        try:
            return question.answer.result()
        finally:
            self._work.acquire()

    def serve(self):
        """Answers until no thread is left."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._questions) >= self.running)
                questions, self._questions = self._questions, []
            if not questions:
                return
            for kind in {(each.max_tokens, each.temperature) for each in questions}:
                self._answer([each for each in questions if (each.max_tokens, each.temperature) == kind])

    def _answer(self, questions):
        try:
            texts = self._generate(questions)
        except Exception as error:  # for those who asked
            for question in questions:
                question.answer.set_exception(error)
        else:
            for question, text in zip(questions, texts, strict=True):
                question.answer.set_result(text)

    @torch.inference_mode()
    def _generate(self, questions):
        from transformers import GenerationConfig

        model, tokenizer = self._chat.module, self._chat.tokenizer
        rows = [question.encoded for question in questions]
        length, blank = max(len(row.tokens) for row in rows), tokenizer.pad_token_id or 0
        tokens = torch.full((len(rows), length), blank)
        mask = torch.zeros_like(tokens)
        for place, (row, seen) in zip(tokens, zip(rows, mask)):
            place[length - len(row.tokens) :], seen[length - len(row.tokens) :] = row.tokens, 1
        inputs = {name: torch.cat([row.inputs[name] for row in rows]) for name in rows[0].inputs}
        if takes_token_types(model.model):
            inputs["mm_token_type_ids"] = tokens.eq(model.config.image_token_id).int()
        stop = model.generation_config.eos_token_id
        temperature = questions[0].temperature
        generated = model.generate(
            **{name: value.to(self._chat.device) for name, value in inputs.items()},
            input_ids=tokens.to(self._chat.device),
            attention_mask=mask.to(self._chat.device),
            generation_config=GenerationConfig(
                max_new_tokens=questions[0].max_tokens,
                do_sample=False,
                eos_token_id=tokenizer.eos_token_id if stop is None else stop,
                pad_token_id=blank,
            ),
            logits_processor=[Draw([question.seed for question in questions], temperature)] if temperature else [],
        )
        return tokenizer.batch_decode(generated[:, length:], skip_special_tokens=True)
