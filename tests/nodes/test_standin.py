"""The stand-in says of every node what a real ComfyUI says."""

import json
import subprocess

import pytest

from tests.support.hosts import PACK_ROOT, STANDIN, comfyui_python, find_comfyui

SCRIPT = """
import json, sys
root, standin, pack_root, base = sys.argv[1:]
sys.path.insert(0, root)
sys.argv = ["main.py", "--cpu", "--base-directory", base]  # an empty one
import comfy.options
comfy.options.enable_args_parsing()
import comfy_api.latest, comfy.model_patcher, folder_paths  # from ComfyUI, before the stand-in is in reach
sys.path.append(standin)
from pathlib import Path
from executor import load_pack, node_classes
classes = node_classes(load_pack(Path(pack_root)))
print(json.dumps({i: cls.GET_NODE_INFO_V1() for i, cls in classes.items() if i.startswith("Rethink")}))
"""


def test_describes_the_nodes_as_comfyui_does(classes, models, tmp_path):
    root = find_comfyui()
    python = root and comfyui_python(root)
    if python is None:
        pytest.skip("no ComfyUI with its own Python was found")
    command = [python, "-c", SCRIPT, root, STANDIN, PACK_ROOT, tmp_path / "base"]
    done = subprocess.run(list(map(str, command)), cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout.splitlines()[-1])
    for name in ("sampler", "scheduler"):
        real["RethinkEditorFromModel"]["input"]["required"][name][1]["options"] = ["default"]  # ComfyUI's follow
    for node_id, info in real.items():
        info["input"].pop("hidden", None)  # ComfyUI gives output nodes the prompt
        described = classes[node_id].describe()
        assert described == {key: info[key] for key in described}
