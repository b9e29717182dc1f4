"""Where the pack's nodes can run in the tests: the stand-in always, a real ComfyUI when one is found."""

import json
import os
import re
from pathlib import Path

PACK_ROOT = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).resolve().parents[1] / "standin"


def find_comfyui() -> Path | None:
    """The root of a ComfyUI checkout, or None.

    Looked for in this order: the environment variable COMFYUI_PATH, the ComfyUI in whose custom_nodes this pack
    lies, comfy-cli's default ~/comfy/ComfyUI. A COMFYUI_PATH that holds no ComfyUI is an error, not a miss: whoever
    sets it wants the tests to run there.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named:
        root = Path(named).expanduser().resolve()
        if not _is_comfyui(root):
            raise FileNotFoundError(f"COMFYUI_PATH names {root}, which has no main.py and comfyui_version.py.")
        return root
    candidates = [Path.home() / "comfy" / "ComfyUI"]
    if PACK_ROOT.parent.name == "custom_nodes":
        candidates.insert(0, PACK_ROOT.parent.parent)
    return next((root for root in candidates if _is_comfyui(root)), None)


def comfyui_version(root: Path) -> str:
    """The version a ComfyUI checkout states, read without importing it."""
    match = re.search(r'__version__\s*=\s*"([^"]+)"', (root / "comfyui_version.py").read_text(encoding="utf-8"))
    return match.group(1) if match else "of unknown version"


def comfyui_python(root: Path) -> Path | None:
    """The Python of the virtual environment inside a ComfyUI checkout (.venv or venv), or None."""
    places = [root / env / inner for env in (".venv", "venv") for inner in ("bin/python", "Scripts/python.exe")]
    return next((path for path in places if path.exists()), None)


def _is_comfyui(root: Path) -> bool:
    return (root / "main.py").is_file() and (root / "comfyui_version.py").is_file()


def self_contained() -> list[str]:
    """The workflows whose models all come with the pack."""

    def comes_along(node: dict) -> bool:
        chosen = {"RethinkLoadEditor": "editor", "RethinkLoadThinker": "backend"}.get(node["class_type"])
        return not node["class_type"].endswith("Loader") and (not chosen or node["inputs"][chosen] == "built-in")

    paths = sorted((PACK_ROOT / "workflows" / "api").glob("*.json"))
    return [path.stem for path in paths if all(map(comes_along, json.loads(path.read_text("utf-8")).values()))]
