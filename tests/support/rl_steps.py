"""Steps of runs to train a thinker on by reinforcement, and who edits and judges for it."""

import torch

from rethink.errors import RethinkError
from rethink.images import save_image
from rethink.thinkers.critique import critique_messages
from rethink.training.thinker_steps import ThinkerStep
from tests.support.thinking import Painter, said

QUESTION = "{source}{edited}{instruction}|{prompt}"


def write_step(folder, *, red=0.5, instruction="paint", last_prompt="paint it", size=16):
    """A step whose source is all of one red; its edit has a green corner."""
    source = torch.full((1, size, size, 3), 0.5)
    source[..., 0] = round(red * 255) / 255
    edited = source.clone()
    edited[:, : size // 2, : size // 2] = torch.tensor([0.0, 1.0, 0.0])
    files = folder / f"source-{red}.png", folder / f"edited-{red}.png"
    for image, file in zip((source, edited), files):
        save_image(image, file)
    messages = critique_messages(QUESTION, instruction=instruction, prompt=last_prompt)
    return ThinkerStep(messages, files, *files, instruction, last_prompt)


class FailingPainter(Painter):
    """A Painter that cannot paint prompts with “broken” in them, which costs the whole batch."""

    def __init__(self):
        super().__init__()
        self.prepared = 0

    def prepare(self, images, references=()):
        self.prepared += 1
        return super().prepare(images, references)

    def edit(self, prepared, instructions, seeds, *arguments, **options):
        edited = super().edit(prepared, instructions, seeds, *arguments, **options)
        if any("broken" in prompt for prompt in instructions):
            raise RethinkError("editor: it is broken.")
        return edited


class PromptJudge:
    """A Chat that scores an edit by what made it: “worth 7” gets 7, anything else 1; “mute” gets no answer that can be read."""

    name = "judge"
    placement = "elsewhere"

    def __init__(self):
        self.batches = []

    def chat_all(self, requests, *, max_tokens, temperature, on_token=None):
        texts = [request.messages[0]["content"][-1]["text"] for request in requests]
        self.batches.append(len(texts))
        return [self._answer(text) for text in texts]

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        raise AssertionError("it is asked for all at once")

    def _answer(self, text):
        if "mute" in text:
            return "I do not know."
        worth = int(text.rpartition("worth ")[2].split()[0]) if "worth " in text else 1
        return said(worth, worth, "anything")
