"""What a node makes and what a command makes of the same settings is the same, file by file."""

import json

import pytest
import torch
from comfy_api.latest import io

from rethink import builtin
from rethink.cli.main import main
from rethink.images import load_image, save_image
from rethink.think_loop import quantize_to_8bit
from rethink.tiny import render, sample_task
from tests.standin.executor import run

needs_models = pytest.mark.skipif(
    not (builtin.EDITOR_FOLDER.exists() and builtin.THINKER_FOLDER.exists()),
    reason="the built-in models are not trained yet",
)
TASK = sample_task(0, "reasoning", wording="held_out")
MASK = torch.zeros(1, 128, 128)
MASK[:, 16:, 16:] = 1


class Inputs(io.ComfyNode):
    """The image and the mask of the test."""

    @classmethod
    def define_schema(cls):
        return io.Schema("Inputs", "Inputs", "test", outputs=[io.Image.Output(), io.Mask.Output()])

    @classmethod
    def execute(cls):
        return io.NodeOutput(quantize_to_8bit(render([TASK.source])), MASK)  # as its file has it


class Show(io.ComfyNode):
    """Wants an image, so that the node that makes it runs."""

    @classmethod
    def define_schema(cls):
        return io.Schema("Show", "Show", "test", inputs=[io.Image.Input("image")], is_output_node=True)

    @classmethod
    def execute(cls, image):
        return io.NodeOutput()


@pytest.fixture
def files(tmp_path):
    save_image(render([TASK.source]), tmp_path / "scene.png")
    save_image(MASK[..., None].expand(-1, -1, -1, 3), tmp_path / "mask.png")
    return tmp_path


@pytest.fixture
def node_output(classes, results):
    """Runs one node of the pack on the built-in models, the image and whatever else; → its outputs."""

    def node_output(class_type, **inputs):
        prompt = {
            "1": {
                "class_type": "RethinkLoadEditor",
                "inputs": {"editor": "built-in", "dtype": "auto", "offload": "none"},
            },
            "2": {"class_type": "RethinkLoadThinker", "inputs": {"backend": "built-in", "max_tokens": 256}},
            "3": {"class_type": "Inputs", "inputs": {}},
            "4": {"class_type": class_type, "inputs": {"editor": ["1", 0], "image": ["3", 0], **inputs}},
            "5": {"class_type": "Show", "inputs": {"image": ["4", 0]}},
        }
        return run(prompt, classes | {"Inputs": Inputs, "Show": Show})["outputs"]["4"]

    return node_output


def assert_same(by_node, by_command):
    """Apart from the rounding of what a command writes."""
    assert by_node.shape == by_command.shape and float((by_node - by_command).abs().max()) <= 0.51 / 255


def command(*arguments):
    assert main([str(argument) for argument in arguments]) == 0


@needs_models
@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        ({"turns": 2}, ["--turns", 2]),
        (
            {
                "turns": 2,
                "candidates": 2,
                "seed": 7,
                "accept_semantic": 9.5,
                "accept_quality": 9.0,
                "patience": 1,
                "start": "polished",
                "base": "previous",
                "checklist": True,
                "preserve": 2.0,
                "draws": 2,
                "side_by_side": True,
                "margin": 1.0,
                "focus": True,
                "focus_margin": 0.1,
                "steps": 3,
                "text_guidance": 5.0,
                "image_guidance": 1.25,
                "randomize_guidance": True,
                "judge": ["2", 0],
                "mask": ["3", 1],
            },
            [
                *("--turns", 2, "--candidates", 2, "--seed", 7, "--accept", 9.5, 9, "--patience", 1),
                *("--start", "polished", "--base", "previous", "--checklist", "--preserve", 2, "--steps", 3),
                *("--draws", 2, "--side-by-side", "--margin", 1, "--focus", "--focus-margin", 0.1),
                *("--text-guidance", 5, "--image-guidance", 1.25, "--randomize-guidance"),
                *("--judge", "built-in", "--mask", "mask.png"),
            ],
        ),
    ],
    ids=["few settings", "all settings"],
)
def test_think_while_edit_and_rethink_think_make_the_same_run(
    inputs, options, node_output, results, files, monkeypatch
):
    monkeypatch.chdir(files)
    inputs = {"seed": 0, "thinker": ["2", 0], "instruction": TASK.instruction, **inputs}
    node_output("RethinkThinkWhileEdit", **inputs)
    command("think", "scene.png", TASK.instruction, "--max-tokens", 256, "-o", "run", *options)
    by_node, by_command = results.output / "rethink" / "thinking_00001_", files / "run"
    records = [json.loads((folder / "trajectory.json").read_text("utf-8")) for folder in (by_node, by_command)]
    for record in records:
        for step in record["steps"]:
            del step["edit_seconds"], step["think_seconds"]
    assert records[0] == records[1] and records[0]["steps"]
    names = {step["file"] for step in records[0]["steps"]} | {"source.png"}
    assert all((by_node / name).read_bytes() == (by_command / name).read_bytes() for name in names)


@needs_models
def test_the_sampler_and_rethink_edit_make_the_same_images(node_output, files):
    settings = {"steps": 6, "text_guidance": 5.0, "randomize_guidance": True}
    inputs = {"seed": 5, "variations": 2, "mask": ["3", 1], "instruction": TASK.instruction, **settings}
    (edited,) = node_output("RethinkSampleEdit", **inputs)[0]
    command(
        *("edit", files / "scene.png", TASK.instruction, "-o", files / "out.png", "--seed", 5, "--variations", 2),
        *("--mask", files / "mask.png", "--steps", 6, "--text-guidance", 5, "--randomize-guidance"),
    )
    by_command = torch.cat([load_image(files / f"out-{number}.png") for number in (1, 2)])
    assert_same(edited, by_command)


@needs_models
def test_the_chain_and_rethink_edit_make_the_same_images(node_output, files):
    lines = ("make the background red", "make the background blue")
    _, (steps,) = node_output("RethinkEditChain", seed=5, instructions="\n".join(lines), steps=6)
    command("edit", files / "scene.png", *lines, "--chain", "-o", files / "out.png", "--seed", 5, "--steps", 6)
    by_command = torch.cat([load_image(files / f"out-{number}.png") for number in (1, 2)])
    assert_same(steps[1:], by_command)
