"""Edits to ask for in wide English, and what a text says of them."""

import re

from rethink.tiny.english import Edit
from rethink.tiny.tasks import sample_task


def edits(count, kind=None):
    tasks = [sample_task(seed, split="train", kind=kind) for seed in range(count)]
    return [Edit(task.kind, task.source, task.accepted) for task in tasks]


def mentions(text, *tables):
    found = {word for table in tables for half in table for word in half.split("|") if word}
    return any(re.search(rf"\b{re.escape(word)}", text, re.IGNORECASE) for word in found)
