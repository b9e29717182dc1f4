"""The pack on the stand-in host, model folders to fill, and an editor whose pictures say how they were made."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.support.hosts import PACK_ROOT, STANDIN

sys.path.insert(0, str(STANDIN))

import folder_paths
import server
from comfy import model_management, utils

from rethink.editors.protocol import Prepared, Settings
from tests.standin.executor import load_pack, node_classes
from tests.support.miniature_thinkers import write_thinker
from tests.support.miniatures import INSTRUCT, write_folder


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


class FakeEditor:
    """Paints its rows: red the source's, green the instruction's length / 100, blue the seed / 100. Four steps."""

    name = "fake"
    defaults = Settings(steps=4, text_guidance=7.5, image_guidance=1.5)
    family = SimpleNamespace(guides_by_image=True)

    def __init__(self):
        self.module = nn.Linear(1, 1)
        self.prepared = []
        self.references = []
        self.calls = []
        self.before_step = lambda step: None

    def prepare(self, images, references=()):
        self.prepared.append(images)
        self.references = list(references)
        return Prepared(images, None)

    def edit(self, prepared, instructions, seeds, settings=None, *, mask=None, on_step=None):
        self.calls.append(SimpleNamespace(instructions=instructions, seeds=seeds, settings=settings, mask=mask))
        per_image, rest = divmod(len(instructions), len(prepared))
        assert rest == 0 and len(seeds) == len(instructions)
        for step in range(1, 5):
            self.before_step(step)
            on_step(step, 4, lambda: torch.zeros(len(seeds), 8, 8, 3))
        painted = prepared.images.repeat_interleave(per_image, 0).clone()
        painted[..., 1] = torch.tensor([len(text) / 100 for text in instructions])[:, None, None]
        painted[..., 2] = torch.tensor([seed / 100 for seed in seeds])[:, None, None]
        return painted


@pytest.fixture
def fake():
    return FakeEditor()


def read(batch):
    """What a FakeEditor wrote on each row: (source's red, instruction's length, seed), red in hundredths too."""
    return [tuple(round(value) for value in (row[0, 0] * 100).tolist()) for row in batch]


def picture(red=0.5, size=4, batch=1):
    return torch.full((batch, size, size, 3), red)
