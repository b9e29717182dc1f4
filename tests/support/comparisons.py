"""Comparisons in little: editors that paint, tasks in memory, a folder that is whole, and votes on its page."""

from types import SimpleNamespace

import torch

from rethink.benchmarking.editing import EditSetup
from rethink.comparison.job import CompareJob
from rethink.comparison.tasks import image_batches, tasks_from_images
from rethink.comparison.variants import Variant
from rethink.editors.settings import DEFAULT_SETTINGS
from rethink.errors import RethinkError
from tests.support.thinking import Painter

ASKED = ".cp-booth[data-asked]"  # the page shows a question


class Brush(Painter):
    """A Painter of a name, which says where it computes. fails: raises from that edit on."""

    device = torch.device("cpu")
    family = SimpleNamespace(guides_by_image=False, references=0)

    def __init__(self, name, fails=10**6):
        super().__init__()
        self.name, self.fails = name, fails

    def edit(self, prepared, instructions, seeds, *arguments, **more):
        if len(self.calls) >= self.fails:
            raise RethinkError(f"{self.name} is out of paint")
        painted = super().edit(prepared, [f"{text} {self.name}" for text in instructions], seeds, *arguments, **more)
        return prepared.images if self.name == "idle" else painted


def variant(name, editor=None, settings=DEFAULT_SETTINGS):
    """A variant whose editor is opened when it is needed."""
    setup = EditSetup(editor or Brush(name), settings)
    return Variant(name, {"editor": name}, lambda: setup)


def sources(count=2, size=16):
    return [torch.rand((1, size, size, 3), generator=torch.Generator().manual_seed(number)) for number in range(count)]


def tasks(count=2, instructions=("make it red", "make it blue")):
    return tasks_from_images(list(image_batches(sources(count))), instructions)


def broken(name="broken"):
    """A variant that cannot be opened."""

    def fail():
        raise RethinkError("lora: it was made for another model.")

    return Variant(name, {"editor": name}, fail)


def run(folder, *names, count=2, **more):
    return CompareJob(tasks(count), [variant(name) for name in names or ("one", "two")], folder, **more).run()


def vote(task, a, b, winner, number=0, voter="someone"):
    return {"id": f"vote{number}", "voter": voter, "task": task.id, "a": a.key, "b": b.key, "winner": winner}


def press(page, *keys):
    """Each once the next question is there."""
    for key in keys:
        before = page.locator(ASKED).get_attribute("data-asked")
        page.keyboard.press(key)
        page.wait_for_function("before => document.querySelector('.cp-booth').dataset.asked !== before", arg=before)
