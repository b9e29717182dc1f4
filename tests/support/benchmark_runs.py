"""Runs of the miniatures: an editor whose edits tell how they were made, and edits that lie there already."""

from types import SimpleNamespace

from rethink.evaluation.benchmarks import BENCHMARKS
from tests.support.benchmark_miniatures import WRITERS, png, put
from tests.support.fake_editor import FakeEditor


class Painter(FakeEditor):
    """A FakeEditor that looks at one more image, and may be run without progress."""

    family = SimpleNamespace(guides_by_image=True, references=1)

    def edit(self, *arguments, on_step=None, **more):
        return super().edit(*arguments, on_step=on_step or (lambda *_: None), **more)


def edited(name, folder, count=None):
    """(the benchmark, its items, where the edits of the first `count` items lie)."""
    row = BENCHMARKS[name]
    items = row.read_items(WRITERS[name](folder), "en").items
    for number, item in enumerate(items[:count]):
        put(folder / "out" / row.result_names(item)[0], png(10 + number))
    return row, items, folder / "out"
