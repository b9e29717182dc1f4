"""The examples of CONTRIBUTING.md do what it says, and the documents name files that there are."""

import json
import re
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

from rethink.editors import families
from rethink.pairs import formats
from rethink.pairs.formats.core import Example
from rethink.pairs.inverse import operations
from rethink.pairs.store import EditPair
from rethink.servers.trust import read_trust
from rethink.thinkers import backends
from rethink.thinkers.loading import ThinkerConfig
from rethink.thinkers.protocol import ThinkerError
from tests.support.hosts import PACK_ROOT
from tests.support.pairs import draw_image
from tests.support.servers import openai_server

TEXT = (PACK_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ *```python\n(.*?)^ *```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """example(package, name, a word of it) → the module of an example, as if its file lay in the package."""
    names = []

    def load(package, name, word):
        block = next(block for block in BLOCKS if block.startswith('"""') and word in block)
        assert f"{block.count(chr(10))} insertions(+)" in TEXT, f"it has {block.count(chr(10))} lines"
        (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        names.append(f"{package.__name__}.{name}")
        return import_module(names[-1])

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_the_row_is_a_family_of_pipelines_that_there_are():
    diffusers = pytest.importorskip("diffusers")
    block = next(block for block in BLOCKS if "sdedit_3" in block)
    row = eval(block.strip(), dict(vars(families)))  # noqa: S307  (our own document)
    assert {*row.pipelines, row.opened_as} <= {*dir(diffusers)} and row.id not in {
        each.id for each in families.FAMILIES
    }


def test_the_operation_darkens_corners(example):
    operation, image = example(operations, "vignette", "falloff").OPERATION, draw_image()
    before, rng = image.copy(), np.random.default_rng(1)
    result = operations.apply_operation(operation, image, operations.whole_image(image), operation.draw(rng, {}), rng)
    assert operation.id in operations._find_operations() and (image == before).all() and result.mask.all()
    darker = image.astype(float) - result.image
    assert darker[:4, :4].mean() > darker[58:62, 78:82].mean()


def test_the_format_gives_back_what_it_was_given(example, tmp_path):
    row = example(formats, "side_by_side", "FORMAT = ").FORMAT
    for name, seed in (("input", 1), ("target", 2)):
        Image.fromarray(draw_image(seed=seed)).save(tmp_path / f"{name}.png")
    pair = EditPair("f" * 16, "input.png", "target.png", "make it red")
    (tmp_path / "out").mkdir()
    assert (
        row.write([Example(pair, 0, tmp_path / "input.png", tmp_path / "target.png")], tmp_path / "out", tmp_path) == 1
    )
    (found,) = row.read(tmp_path / "out")
    (tmp_path / "again.png").write_bytes(found.target())
    assert (np.asarray(Image.open(tmp_path / "again.png")) == draw_image(seed=2)).all()
    assert found.texts() == ("make it red", "", "") and row.name in formats._find_formats()


def test_the_backend_asks_ollama_and_says_what_is_no_answer_of_its(example):
    row = example(backends, "ollama", "Ollama").BACKEND
    question = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, {"type": "image"}]}]
    with openai_server() as server:
        server.replies = [(200, json.dumps({"message": {"content": "a cat"}}), {}), (200, "{}", {})]
        config = ThinkerConfig(server.url.replace("/v1", "/api"), "m")
        chat = row.open(config, read_trust())
        ask = {"max_tokens": 9, "seed": 1, "temperature": 0.0}
        assert chat.chat(question, [torch.zeros(1, 40, 40, 3)], **ask) == "a cat" and row.recognizes(config.where)
        assert server.requests[0].path == "/api/chat" and len(server.requests[0].body["messages"][0]["images"]) == 1
        with pytest.raises(ThinkerError, match="does not answer as Ollama does"):
            chat.chat(question, [torch.zeros(1, 40, 40, 3)], **ask)


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_a_document_names_are_there(document):
    text = (PACK_ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|mjs|md|json))`", text))
    examples = {"NAME", "ollama", "test_ollama", "test_vignette", "test_side_by_side"}
    folders = (PACK_ROOT, PACK_ROOT / "rethink")
    missing = {path for path in named if not any((folder / path).is_file() for folder in folders)}
    assert named and {path for path in missing if re.split(r"[/.]", path)[-2] not in examples} == set()
