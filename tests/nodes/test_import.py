"""The pack comes in by file location under any name, and brings nothing heavy along."""

import shutil
import subprocess
import sys

import folder_paths
import pytest
import server
from comfy_execution import graph_utils

from tests.standin.executor import load_pack, node_classes
from tests.support.hosts import PACK_ROOT, STANDIN

HEAVY = ("diffusers", "transformers", "peft", "accelerate", "kornia", "torchvision", "scipy")
# Of every kind of job, what it runs on: ComfyUI's start waits for none of it.
LATE = (
    "alignment.compositing",
    "collect.comparison",
    "comparison.edits",
    "editors.sampling",
    "pairs.importing",
    "pairs.inverse.synthesis",
    "pairs.review.job",
    "scoring.judge",
    "thinkers.critique_format",
    "thinkers.transformers_chat",
    "tiny.english",
    "training.edit_lora",
    "training.thinker_grpo",
    "training.thinker_sft",
)

SCRIPT = f"""
import sys
sys.path.insert(0, {str(STANDIN)!r})
sys.path.insert(1, {str(PACK_ROOT)!r})
from tests.standin.executor import load_pack, node_classes
from pathlib import Path
pack = load_pack(Path(sys.argv[1]), sys.argv[2])
sys.path.remove({str(PACK_ROOT)!r})
assert "RethinkSampleEdit" in node_classes(pack)
assert "NODE_CLASS_MAPPINGS" not in vars(pack) and Path(sys.argv[1], pack.WEB_DIRECTORY).is_dir()
assert "rethink" not in sys.modules and "nodes" not in sys.modules, "absolute imports"
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
late = [name for name in {LATE!r} if f"{{sys.argv[2]}}.rethink.{{name}}" in sys.modules]
assert not late, late
"""


def test_imports_under_any_name_and_nothing_heavy(tmp_path):
    copy = tmp_path / "some pack-1.0"
    for part in ("nodes", "rethink", "web"):
        shutil.copytree(PACK_ROOT / part, copy / part, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    shutil.copy(PACK_ROOT / "__init__.py", copy)
    name = str(copy).replace(".", "_x_")  # as ComfyUI names it
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(copy), name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def older_comfyui(monkeypatch, tmp_path):
    """A ComfyUI that lacks what a Think Loop builds on, and the folder kind of datasets."""

    def get_folder_paths(kind, known=folder_paths.get_folder_paths):
        if kind == "datasets":
            raise KeyError(kind)
        return known(kind)

    monkeypatch.delattr(graph_utils, "GraphBuilder")
    monkeypatch.setattr(folder_paths, "get_folder_paths", get_folder_paths)
    monkeypatch.setattr(folder_paths, "base_path", str(tmp_path), raising=False)
    monkeypatch.setattr(server, "served", {})
    yield load_pack(PACK_ROOT, "older_pack")
    for name in [name for name in sys.modules if name.partition(".")[0] == "older_pack"]:
        del sys.modules[name]


def test_a_node_whose_needs_an_older_comfyui_lacks_is_left_out_and_the_others_work(older_comfyui, tmp_path, caplog):
    classes = node_classes(older_comfyui)
    assert not [name for name in classes if name.startswith("RethinkThinkLoop")]
    every = sum(map(len, sys.modules["older_pack.nodes"].ROOMS.values()))
    assert sum(name.startswith("Rethink") for name in classes) == every - 2
    assert sys.modules["older_pack.nodes.comfy.folders"].dataset_roots() == [tmp_path / "datasets"]
    (line,) = [line for line in caplog.messages if "Rethink: left out" in line]
    assert "ThinkLoopOpen, ThinkLoopClose" in line and "GraphBuilder" in line
