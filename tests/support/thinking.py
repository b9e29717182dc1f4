"""An editor that paints and thinkers that say what they are told to: for tests of everything that thinks."""

import hashlib
from types import SimpleNamespace

import torch

from rethink.editors.settings import DEFAULT_SETTINGS, Settings
from rethink.steps import Critique
from rethink.think_loop import LoopConfig, RunCallbacks, ThinkTask, think_while_edit
from rethink.thinkers.critique import Thinker
from rethink.thinkers.critique_format import format_critique
from rethink.thinkers.protocol import ThinkerError

SOURCE = torch.full((1, 16, 16, 3), 0.5)


class Painter:
    """Paints a quarter of the picture in a color of prompt and seed; “nothing” paints nothing. Two steps."""

    name = "painter"
    defaults = Settings(steps=2, text_guidance=7.5)
    family = SimpleNamespace(guides_by_image=False)
    module = torch.nn.Linear(1, 1)

    def __init__(self):
        self.calls = []

    def prepare(self, images, references=()):
        return SimpleNamespace(images=images)

    def edit(self, prepared, instructions, seeds, settings=DEFAULT_SETTINGS, *, mask=None, on_step=None):
        self.calls.append(SimpleNamespace(base=prepared.images, prompts=list(instructions), seeds=list(seeds)))
        for step in (1, 2):
            if on_step is not None:
                on_step(step, 2, lambda: prepared.images)
        painted = prepared.images.repeat(len(seeds), 1, 1, 1)
        for row, (prompt, seed) in enumerate(zip(instructions, seeds)):
            if prompt != "nothing":
                painted[row, :8, :8] = color(prompt, seed)
        return painted


def color(prompt, seed):
    digest = hashlib.sha256(f"{prompt} {seed}".encode()).digest()
    return torch.tensor([0.9, digest[0] / 255, digest[1] / 255])


class Says:
    """A Chat that gives one answer after the other, the last one for ever; an error among them is raised."""

    name, placement = "says", "elsewhere"

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        if on_token is not None:
            on_token(1, max_tokens)
        text = "".join(part.get("text", "[picture]") for part in messages[0]["content"])
        self.asked.append(SimpleNamespace(text=text, images=list(images), seed=seed, temperature=temperature))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Looks:
    """A Chat that scores what it sees, the same picture always the same, and asks for something new every time."""

    name = "looks"

    def __init__(self):
        self.batches = []

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        (answer,) = self.chat_all([SimpleNamespace(images=images)], max_tokens=max_tokens, temperature=temperature)
        return answer

    def chat_all(self, requests, *, max_tokens, temperature, on_token=None):
        self.batches.append(len(requests))
        return [self._answer(request.images[-1]) for request in requests]

    def _answer(self, picture):
        seen = hashlib.sha256((picture * 255).round().byte().numpy().tobytes()).digest()
        return said(seen[0] % 70 / 10, seen[1] % 70 / 10, f"paint it like {seen.hex()[:6]}")


def said(semantic, quality, prompt="", reasoning="I see."):
    return format_critique(Critique("ok", semantic, quality, reasoning, prompt))


def thinker(*answers):
    return Thinker(Says(*answers))


def critic(*answers):
    """A judge that knows the critique alone."""
    judge = thinker(*answers)
    judge.chat.name = "built-in"
    return judge


def gone():
    return ThinkerError("thinker: says is gone.")


def start_thinking(editor, critic, source, instruction, *, settings=DEFAULT_SETTINGS, resume_steps=(), **options):
    """`think_while_edit` by the fields of its task, its callbacks and its LoopConfig."""
    task = {name: options.pop(name) for name in ("judge", "mask") if name in options}
    callbacks = {name: options.pop(name) for name in ("steer", "on_step", "on_edits", "on_token") if name in options}
    return think_while_edit(
        editor,
        ThinkTask(source, instruction, critic, config=LoopConfig(**options), **task),
        settings,
        resume_steps=resume_steps,
        callbacks=RunCallbacks(**callbacks),
    )


def drained(run):
    """(all steps, why it stopped)."""
    steps = []
    while True:
        try:
            steps.append(next(run))
        except StopIteration as end:
            return steps, end.value
