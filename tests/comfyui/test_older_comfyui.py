"""The pack in every other ComfyUI that is found, down to the oldest that it supports: its nodes and built-in workflows."""

import pytest

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from tests.comfyui.native_graphs import run
from tests.support.comfyui_server import install_pack, running_comfyui
from tests.support.hosts import comfyui_python, comfyui_version, find_comfyuis, read_workflow, self_contained

# How much there is to do says nothing of a ComfyUI; the newest one runs the workflows as they are shipped.
SMALL = {
    "RethinkScene": {"count": 1},
    "RethinkRunBenchmark": {"count": 1},
    "RethinkTradeOffCurve": {"image_guidance": "1, 2", "text_guidance": "1"},
}
OLDER = [root for root in find_comfyuis()[1:] if comfyui_python(root)]

pytestmark = pytest.mark.skipif(not OLDER, reason="no second ComfyUI was found")


@pytest.fixture(scope="module", params=OLDER, ids=comfyui_version)
def older(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("comfyui")
    install_pack(request.param, base)
    with running_comfyui(request.param, base) as server:
        yield server


def covering_workflows() -> list[str]:
    """As few as have every kind of node between them."""
    kinds = {name: {node["class_type"] for node in read_workflow(name).values()} for name in self_contained()}
    for name in sorted(kinds, key=lambda name: len(kinds[name])):
        others = set().union(*(found for other, found in kinds.items() if other != name))
        if kinds[name] <= others:
            del kinds[name]
    return list(kinds)


def rethink_nodes(server) -> set[str]:
    return {name for name in server.json("/object_info") if name.startswith("Rethink")}


def test_all_nodes_are_there(older, server):
    assert rethink_nodes(older) == rethink_nodes(server)
    assert "Rethink: left out" not in older.log.read_text(errors="replace")


@pytest.mark.skipif(
    not (EDITOR_FOLDER.exists() and THINKER_FOLDER.exists()), reason="the built-in models are not trained yet"
)
@pytest.mark.parametrize("name", covering_workflows())
def test_every_kind_of_node_runs_in_a_shipped_workflow(older, name):
    graph = read_workflow(name)
    for entry in graph.values():
        entry["inputs"] |= SMALL.get(entry["class_type"], {})
    outputs = run(older, graph).values()
    assert any(shown.get("images") or shown.get("rethink_text") for shown in outputs)
