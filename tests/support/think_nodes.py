"""Nodes that give out what a test has made, and a person who watches a run: for tests of the nodes that think.

They stand on the stand-in of ComfyUI, which the nodes' conftest.py puts in reach.
"""

import threading
import time
from types import SimpleNamespace

import pytest
import server
from comfy_api.latest import io

from tests.support.thinking import Painter, Says
from tests.support.waiting import SOON, wait_until

BOTH = pytest.mark.parametrize("loop", [False, True], ids=["node", "loop"])


class SourceNode(io.ComfyNode):
    """A node that gives out a thing of the test."""

    thing = None

    @classmethod
    def define_schema(cls):
        return io.Schema("SourceNode", "SourceNode", "test", outputs=[io.Custom("*").Output()])

    @classmethod
    def execute(cls):
        return io.NodeOutput(cls.thing)


class Paint(io.ComfyNode):
    """Any graph that edits: picture, prompt and seed in, as many pictures out as asked for."""

    painter, rows = Painter(), [1]

    @classmethod
    def define_schema(cls):
        inputs = [io.Image.Input("image"), io.String.Input("prompt"), io.Int.Input("seed")]
        return io.Schema("Paint", "Paint", "test", inputs=inputs, outputs=[io.Image.Output("painted")])

    @classmethod
    def execute(cls, image, prompt, seed):
        rows = cls.rows[min(len(cls.painter.calls), len(cls.rows) - 1)]
        seeds = [seed + 100 * row for row in range(rows)]
        return io.NodeOutput(cls.painter.edit(SimpleNamespace(images=image), [prompt] * rows, seeds))


class Spread(io.ComfyNode):
    """A batch as a list."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            "Spread",
            "Spread",
            "test",
            inputs=[io.Image.Input("image")],
            outputs=[io.Image.Output("one", is_output_list=True)],
        )

    @classmethod
    def execute(cls, image):
        return io.NodeOutput(list(image.split(1)))


def source_node(thing, io_type="*"):
    """A node class that gives out `thing`."""
    name = f"SourceNode{id(thing)}"
    schema = io.Schema(name, name, "test", outputs=[io.Custom(io_type).Output()])
    return type(name, (SourceNode,), {"thing": thing, "define_schema": classmethod(lambda cls: schema)})


def events(event):
    return [data for name, data in server.sent if name == f"rethink.{event}"]


class Person(threading.Thread):
    """Somebody who watches what is sent, and gives orders by it: do(event, data) → order or None."""

    def __init__(self, live, do):
        super().__init__(daemon=True)
        self.live, self.do, self.seen, self.errors, self.leaves = live, do, 0, [], False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.leaves = True
        self.join(SOON)

    def catch_up(self):
        """Wait until the person has done what there is to do about all that was sent so far."""
        count = len(server.sent)
        wait_until(lambda: self.seen >= count or not self.is_alive())

    def run(self):
        while not self.leaves or self.seen < len(server.sent):
            for name, data in server.sent[self.seen :]:
                self._react(name.removeprefix("rethink."), data)
                self.seen += 1
            time.sleep(0.01)

    def _react(self, event, data):
        if order := self.do(event, data):
            try:
                self.live.order(data["run"]["subfolder"], **order)
            except ValueError as error:
                self.errors.append(str(error))


class Polite(Says):
    """A thinker that lets the person who watches catch up, before it answers and after."""

    def __init__(self, person, *answers):
        super().__init__(*answers)
        self.person = person

    def chat(self, *arguments, **options):
        self.person.catch_up()
        answer = super().chat(*arguments, **options)
        self.person.catch_up()
        return answer
