"""Measure what the pack adds to ComfyUI's startup: seconds, relative to ComfyUI's own imports, and heavy modules.

    python benchmarks/startup.py [--runs N]

Every run is its own process, with the Python of the ComfyUI that is found (COMFYUI_PATH, the custom_nodes folder that
contains the pack, ~/comfy/ComfyUI). It imports what ComfyUI imports before custom nodes, then loads a fresh copy of the
pack as ComfyUI does; the first run compiles it, later ones find its bytecode. Seconds depend on the machine;
`share_added` (the pack's seconds over those of ComfyUI's imports, in the same runs) also holds on a slow one.
Without a ComfyUI, it runs on the stand-in.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.hosts import STANDIN, comfyui_python, comfyui_version, find_comfyui  # noqa: E402

PACK = ("__init__.py", "nodes", "rethink", "web", "workflows", "locales", "pyproject.toml")
HEAVY = ("diffusers", "transformers", "peft", "accelerate", "kornia", "torchvision", "scipy")

SCRIPT = """
import asyncio, importlib.util, json, sys, time
host, pack = sys.argv[1:]
started = time.perf_counter()
sys.path.insert(0, host)
sys.argv = ["main.py", "--cpu"]
try:
    import comfy.options
    comfy.options.enable_args_parsing()
    import execution, nodes, server  # ComfyUI's own: a running one has them long before custom nodes are loaded
    import comfy_api.latest
except ImportError:
    import numpy, torch, PIL.Image, comfy_api.latest, comfy.model_management  # the stand-in
before, own_seconds = set(sys.modules), time.perf_counter() - started

def load(name, path, entry):
    start = time.perf_counter()
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = asyncio.run(entry(module))
    return time.perf_counter() - start, found

async def describe(module):
    extension = await module.comfy_entrypoint()
    await extension.on_load()
    return [getattr(node, "GET_SCHEMA", node.define_schema)() for node in await extension.get_node_list()]

name = pack.replace(".", "_x_")
seconds, schemas = load(name, pack + "/__init__.py", describe)
others = {module.split(".")[0] for module in set(sys.modules) - before} - {name}
print(json.dumps({"seconds": seconds, "own_seconds": own_seconds, "nodes": len(schemas), "modules": sorted(others)}))
"""


def copy_pack(folder: Path) -> Path:
    """Copy the pack without bytecode."""
    folder.mkdir()
    for name in PACK:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def measure(python: Path, host: Path, pack: Path) -> dict:
    """One start: {"seconds", "own_seconds" (of ComfyUI's imports), "nodes", "modules" (top-level names the pack imported)}."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [str(python), "-c", SCRIPT, str(host), str(pack)]
    done = subprocess.run(command, cwd=host, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The pack did not load:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="processes started for the median (default: 7)")
    runs = parser.parse_args().runs
    comfyui = find_comfyui()
    python = comfyui and comfyui_python(comfyui)
    host = comfyui if python else STANDIN
    print(f"host: ComfyUI {comfyui_version(comfyui)} at {comfyui}" if python else "host: stand-in")

    with tempfile.TemporaryDirectory() as temporary:
        pack = copy_pack(Path(temporary) / "Rethink")
        first, *later = [measure(python or Path(sys.executable), host, pack) for _ in range(runs + 1)]
    seconds = [run["seconds"] for run in later]
    share = statistics.median(run["seconds"] / run["own_seconds"] for run in later)
    heavy = sorted({name for run in [first, *later] for name in run["modules"]} & set(HEAVY))
    print(f"{'start':<34}{'seconds':>10}")
    print(f"{'first, compiling the pack':<34}{first['seconds']:>10.3f}")
    print(f"{f'later, median of {runs}':<34}{statistics.median(seconds):>10.3f}")
    print(f"{'later, fastest and slowest':<34}{f'{min(seconds):.3f}–{max(seconds):.3f}':>10}")
    print(f"{'later, share of ComfyUI imports':<34}{share:>10.1%}")
    print(f"nodes: {first['nodes']}; third-party modules: {', '.join(first['modules']) or 'none'}")
    figures = {"seconds_added": round(statistics.median(seconds), 4), "share_added": round(share, 4)}
    print(json.dumps(figures | {"heavy_imports": heavy}))


if __name__ == "__main__":
    main()
