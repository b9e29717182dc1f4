"""The pack on the stand-in host, model folders to fill, and an editor whose pictures say how they were made."""

import functools
import importlib
import operator
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.support.hosts import PACK_ROOT, STANDIN

sys.path.insert(0, str(STANDIN))

import folder_paths
import server
from comfy import model_management, utils

from tests.standin.executor import load_pack, node_classes, run
from tests.support.chats import Seer
from tests.support.fake_editor import FakeEditor
from tests.support.miniature_thinkers import write_thinker
from tests.support.miniatures import INSTRUCT, write_clip, write_folder
from tests.support.think_nodes import Paint, SourceNode, Spread, source_node
from tests.support.thinking import SOURCE, Painter, Says


@pytest.fixture(scope="session")
def pack():
    return load_pack(PACK_ROOT)


@pytest.fixture(scope="session")
def classes(pack):
    return node_classes(pack)


@pytest.fixture(scope="session")
def part(pack):
    """part("nodes.edit") is that module of the pack."""
    return lambda name: importlib.import_module(f"{pack.__name__}.{name}")


@pytest.fixture(scope="session")
def RethinkError(part):
    return part("rethink.errors").RethinkError


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "miniature", INSTRUCT)


@pytest.fixture(scope="session")
def vision_folder(tmp_path_factory):
    return write_thinker(tmp_path_factory.mktemp("thinker") / "vision")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Empty model folders, by kind."""
    kinds = {kind: tmp_path / "models" / kind for kind in folder_paths.folders}
    for folder in kinds.values():
        folder.mkdir(parents=True)
    monkeypatch.setattr(folder_paths, "folders", {kind: [str(folder)] for kind, folder in kinds.items()})
    return SimpleNamespace(**kinds)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Empty folders of results, by kind."""
    monkeypatch.setattr(folder_paths, "base", str(tmp_path))
    for kind in ("output", "input", "temp"):
        (tmp_path / kind).mkdir()
    return SimpleNamespace(**{kind: tmp_path / kind for kind in ("output", "input", "temp")})


@pytest.fixture(autouse=True)
def fresh_host():
    """No progress reported, nothing loaded, nothing said, nothing interrupted."""
    utils.reports.clear()
    server.sent.clear()
    server.addressees.clear()
    server.texts.clear()
    model_management.loaded.clear()
    yield
    model_management.interrupt_current_processing(False)


@pytest.fixture
def fake():
    return FakeEditor()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A miniature CLIPModel with random weights."""
    return write_clip(tmp_path_factory.mktemp("clip"))


# ── what the tests of the nodes that think start with


@pytest.fixture
def live(part):
    return part("nodes.run_monitor")


@pytest.fixture
def make_thinker(part):
    return lambda *answers, chat=None: part("rethink.thinkers.critique").Thinker(chat or Says(*answers))


@pytest.fixture
def think(classes, results, fresh_paint):
    """Runs Think While Edit (or, with `loop`, Open, Paint and Close) on things of the test."""

    def think(thinker, loop=False, editor=None, source=SOURCE, extra=(), also=SourceNode, **inputs):
        things = {
            "1": (editor or Painter(), "RETHINK_EDITOR"),
            "2": (thinker, "RETHINK_THINKER"),
            "3": (source, "IMAGE"),
        }
        nodes = {node: source_node(*thing) for node, thing in things.items()}
        known = {**classes, "Paint": Paint, "Spread": Spread, **{cls.__name__: cls for cls in [*nodes.values(), also]}}
        prompt = {node: {"class_type": cls.__name__, "inputs": {}} for node, cls in nodes.items()}
        common = {"thinker": ["2", 0], "image": ["3", 0], "instruction": "make it red", "seed": 0, **inputs}
        if loop:
            prompt["4"] = {"class_type": "RethinkThinkLoopOpen", "inputs": common}
            body = {"image": ["4", 1], "prompt": ["4", 2], "seed": ["4", 3]}
            prompt["5"] = {"class_type": "Paint", "inputs": body}
            prompt["6"] = {"class_type": "RethinkThinkLoopClose", "inputs": {"loop": ["4", 0], "edited": ["5", 0]}}
        else:
            prompt["6"] = {"class_type": "RethinkThinkWhileEdit", "inputs": {"editor": ["1", 0], **common}}
        prompt["7"] = {"class_type": "RethinkTrajectoryViewer", "inputs": {"trajectory": ["6", 3]}}
        prompt |= dict(extra)
        done = run(prompt, known)
        return SimpleNamespace(
            **dict(
                zip(
                    ("image", "images", "prompt", "trajectory"),
                    functools.reduce(operator.iadd, done["outputs"]["6"], []),
                )
            ),
            **done,
        )

    return think


@pytest.fixture
def fresh_paint(monkeypatch):
    monkeypatch.setattr(Paint, "painter", Painter())
    monkeypatch.setattr(Paint, "rows", [1])


@pytest.fixture
def critique(classes):
    def critique(thinker, edited, prompt="", **inputs):
        return (
            classes["RethinkCritiqueEdit"].execute(thinker, SOURCE, edited, "make it red", 0, prompt, **inputs).result
        )

    return critique


@pytest.fixture
def load(classes):
    return lambda **inputs: classes["RethinkLoadThinker"].execute(**inputs).result[0]


# ── what the tests of the nodes that make and keep pairs start with


@pytest.fixture
def photo():
    """IMAGE [1, 48, 64, 3] with detail everywhere."""
    return torch.rand(1, 48, 64, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def synthesize(classes, models, results, photo, part):
    """The node as the host calls it: every input a list."""

    def call(operation="cover", options=None, folder=None, **inputs):
        inputs = {"image": photo, "dataset": "pairs", "pairs": 2, "seed": 7, **inputs}
        if isinstance(inputs.get("thinker"), Seer):
            inputs["thinker"] = part("rethink.thinkers.critique").Thinker(inputs["thinker"])
        lists = {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
        options = {name: [value] for name, value in (options or {}).items()}
        pictures = (
            {"pictures": ["folder"], "folder": [folder], "masks": ["none"]}
            if folder
            else {"pictures": ["connected pictures"]}
        )
        return (
            classes["RethinkInverseEditSynthesizer"]
            .execute({"operation": [operation], **options}, pictures, **lists)
            .result
        )

    return call


@pytest.fixture
def synthesized(classes, models, results):
    photo = torch.rand(1, 96, 128, 3, generator=torch.Generator().manual_seed(1))
    return lambda seed: (
        classes["RethinkInverseEditSynthesizer"]
        .execute(
            {"operation": ["any"]},
            {"pictures": ["connected pictures"]},
            image=[photo],
            dataset=["pairs"],
            pairs=[12],
            seed=[seed],
        )
        .result[0]
    )


@pytest.fixture
def pairs(synthesized):
    """Twelve pairs of one image, some of them hardly damaged."""
    return synthesized(3)


@pytest.fixture
def review(part):
    return part("nodes.pairs_api")


@pytest.fixture
def filtered(classes, pairs):
    def call(clip="none", **thresholds):
        return classes["RethinkFilterEditPairs"].execute(pairs, clip, **{"duplicates": -1, **thresholds})

    return call
