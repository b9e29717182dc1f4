"""What every node owes to whoever sends it a prompt: defaults for what was left out, errors that name what was sent."""

import threading

import pytest
import torch
from comfy import model_management
from comfy_api.latest import io

from rethink.threads import DaemonThreads
from tests.standin.executor import DYNAMIC, validate

CHOICES = {
    "RethinkLoadThinker",
    "RethinkInverseEditSynthesizer",
    "RethinkPromptToPromptPairs",
    "RethinkSaveEditDataset",
    "RethinkLoadEditDataset",
    "RethinkRunBenchmark",
    "RethinkTrainThinker",
}


@pytest.fixture
def described(classes, models):
    return {i: cls.describe()["input"] for i, cls in classes.items() if i.startswith("Rethink")}


def test_what_a_choice_brings_along_need_not_be_sent_unless_it_is_a_link(described):
    seen = set()
    for node_id, inputs in described.items():
        for name, (io_type, options) in inputs["required"].items():
            if io_type != DYNAMIC:
                continue
            seen.add(node_id)
            for option in options["options"]:
                for inner, (inner_type, _) in option["inputs"]["required"].items():
                    assert inner_type in ("CLIP", "RETHINK_EDITOR", "RETHINK_THINKER"), (node_id, name, inner)
    assert seen == CHOICES


def test_defaults_take_the_place_of_what_was_left_out(classes, models):
    backend = {"backend": "server", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    backend |= dict.fromkeys(("key_variable", "timeout", "retries", "concurrency"))  # as ComfyUI says: not sent
    (thinker,) = classes["RethinkLoadThinker"].execute(backend=backend).result
    assert thinker.chat.name and thinker.chat.concurrency == 4


def test_a_node_that_takes_lists_gets_its_defaults_in_lists(part, models):
    filled = part("nodes.boundary")._complete_choices(
        part("nodes.synthesis").InverseEditSynthesizer, {"operation": {"operation": ["cover"], "shape": None}}, []
    )
    assert filled == {"operation": {"operation": ["cover"], "shape": ["any"]}}


def test_a_choice_that_was_not_made_is_asked_for(classes, RethinkError):
    """ComfyUI hands over neither a missing choice nor an unknown one."""
    with pytest.raises(
        RethinkError, match="^backend: is missing or not one of its choices; send one of built-in, ComfyUI model"
    ):
        classes["RethinkLoadThinker"].execute(max_tokens=16)


@pytest.mark.parametrize(
    ("backend", "sentence"),
    [
        ({"backend": "server", "base_url": "nowhere", "model": "m"}, "backend.base_url: "),
        ({"backend": "server", "base_url": "http://127.0.0.1:9/v1", "model": " "}, "backend.model: "),
        ({"backend": "local folder", "folder": "away"}, "backend.folder: there is no “away”"),
        ({"backend": "local folder", "folder": None}, "backend.folder: "),
    ],
)
def test_an_error_names_the_input_of_a_choice_as_it_must_be_sent(classes, models, RethinkError, backend, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        classes["RethinkLoadThinker"].execute(backend=backend)


def test_an_error_has_a_title_without_the_pack_s_folders(classes, models):
    with pytest.raises(ValueError) as caught:
        classes["RethinkLoadEditor"].execute("away", "auto", "none")
    kind = caught.type
    assert (kind.__module__, kind.__qualname__) == ("builtins", "RethinkError"), "ComfyUI shows both"
    assert "load_editor" in str(caught.getrepr()), "where it came from is still told"


def test_every_name_in_an_error_is_of_an_input(part, described):
    for node_id, names in part("nodes.boundary").NAMES.items():
        known = {**described[node_id]["required"], **described[node_id].get("optional", {})}
        inner = {
            name
            for _, options in known.values()
            for o in options.get("options", ())
            if isinstance(o, dict)
            for group in o["inputs"].values()
            for name in group
        }
        for library, ours in names.items():
            assert set(ours.split(" and ")) <= {*known, *inner} or ours in ("smallest and largest",), (node_id, ours)
            assert library not in known or node_id == "RethinkInverseEditSynthesizer", (node_id, library)


def test_errors_speak_of_the_inputs_that_the_node_has(classes, part, fake, RethinkError):
    thinker = part("rethink.thinkers.critique").Thinker(None)
    two = torch.rand(2, 8, 8, 3)
    with pytest.raises(RethinkError, match="^image: one image is edited at a time"):
        classes["RethinkThinkWhileEdit"].execute(fake, thinker, two, "make it snow", 0)


@pytest.mark.parametrize(
    ("node_id", "given", "folder"),
    [
        ("RethinkLoadEditor", {"editor": "x.safetensors"}, "models/checkpoints"),
        ("RethinkEditLoraLoader", {"lora": "x.safetensors"}, "models/loras"),
        ("RethinkPromptToPromptPairs", {"clip": ["x"]}, "models/clip_vision"),
        ("RethinkFilterEditPairs", {"clip": "x"}, "models/clip_vision"),
        ("RethinkLoadTrajectory", {"run": "output/x"}, "input folder"),
    ],
)
def test_a_loader_says_which_file_is_missing_and_where_to_put_it(classes, models, results, node_id, given, folder):
    said = classes[node_id].validate_inputs(**given)
    assert said.startswith("there is no “") and folder in said, "ComfyUI puts the input's name before it"
    assert classes[node_id].validate_inputs() is True, "a link, whose value comes later"


def test_what_a_choice_offers_may_be_asked_for_though_it_is_gone(part):
    options = part("nodes.inputs").AnyOption(["a"])
    assert "gone" in options and list(options) == ["a"]


def test_the_validity_of_everything_else_is_still_checked_by_comfyui(classes, models):
    prompt = {"1": {"class_type": "RethinkLoadThinker", "inputs": {"backend": "server", "backend.timeout": -1}}}
    assert validate(prompt, classes) == {"1": ["backend.timeout: -1 is outside 1…3600"]}


def test_whatever_a_node_leaves_at_work_is_over_with_its_call(part):
    boundary, progress = part("nodes.boundary"), part("nodes.comfy.progress")
    threads, over = DaemonThreads(1), threading.Event()

    class Node(io.ComfyNode):
        @classmethod
        def execute(cls):
            progress.stop_if_cancelled()
            return threads.submit(lambda: (over.wait(10), progress.stop_if_cancelled()))

    left_behind = boundary.adapt(Node).execute()
    over.set()
    assert isinstance(left_behind.exception(10), model_management.InterruptProcessingException)
    threads.end()
