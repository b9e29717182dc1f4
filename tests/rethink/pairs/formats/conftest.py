"""A store of pairs that formats may stumble over, and what every format makes of it."""

import pytest
from PIL import Image

from rethink.pairs.exporting import export
from rethink.pairs.formats import FORMATS
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.instructions import InstructionWriter
from rethink.pairs.inverse.sources import ImageFolder
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.store import EditPair, PairStore
from tests.support.datasets import CANDIDATE
from tests.support.pairs import draw_image


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Seven pairs, one of them rejected, and instructions that formats stumble over."""
    root = tmp_path_factory.mktemp("formats")
    (root / "photos").mkdir()
    for index in range(6):
        Image.fromarray(draw_image(seed=index)).save(root / "photos" / f"photo {index}.png")
    templates = {"weather": ['Say "no", to {weather}; it\'s #1: über ✓']}
    with PairStore(root / "my store ü").writing() as store:
        synthesize(
            store,
            ImageFolder(root / "photos"),
            operation_maker(store, SynthesisConfig(("weather",))),
            1,
            InstructionWriter(templates=templates),
        )
        first = next(iter(store))
        captions = {"input_caption": "a red cat", "target_caption": "a blue cat"}
        store.add(
            EditPair(
                "f" * 16,
                first.input,
                first.target,
                "from captions",
                parameters=CANDIDATE | {"method": "self"},
                **captions,
            )
        )
        store.verdicts.append({"id": first.id, "accepted": False, "why": ["ugly"], "by": "person"})
    return store


@pytest.fixture(scope="session")
def exported(store, tmp_path_factory):
    """{format: folder}."""
    folders = {name: tmp_path_factory.mktemp("out") / f"data set {name}" for name in FORMATS}
    for name, folder in folders.items():
        assert export(store, name, folder) == 6
    return folders
