"""The pack comes in by file location under any name, and brings nothing heavy along."""

import shutil
import subprocess
import sys

from tests.hosts import PACK_ROOT, STANDIN

HEAVY = ("diffusers", "transformers", "peft", "accelerate", "kornia", "torchvision", "scipy")

SCRIPT = f"""
import sys
sys.path.insert(0, {str(STANDIN)!r})
sys.path.insert(1, {str(PACK_ROOT)!r})
from tests.standin.executor import load_pack, node_classes
from pathlib import Path
pack = load_pack(Path(sys.argv[1]), sys.argv[2])
sys.path.remove({str(PACK_ROOT)!r})
assert len([i for i in node_classes(pack) if i.startswith("Rethink")]) >= 12
assert "NODE_CLASS_MAPPINGS" not in vars(pack) and Path(sys.argv[1], pack.WEB_DIRECTORY).is_dir()
assert "rethink" not in sys.modules and "nodes" not in sys.modules, "absolute imports"
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""


def test_imports_under_any_name_and_nothing_heavy(tmp_path):
    copy = tmp_path / "some pack-1.0"
    for part in ("nodes", "rethink", "web"):
        shutil.copytree(PACK_ROOT / part, copy / part, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    shutil.copy(PACK_ROOT / "__init__.py", copy)
    name = str(copy).replace(".", "_x_")  # as ComfyUI names it
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(copy), name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
