"""Where the pack's nodes can run in the tests: the stand-in always, a real ComfyUI when one is found."""

import json
import os
import re
from pathlib import Path

PACK_ROOT = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).resolve().parents[1] / "standin"


def find_comfyuis() -> list[Path]:
    """The roots of all ComfyUI checkouts that are found; the whole suite runs in the first, the older ones stay usable.

    Those that the environment variable COMFYUI_PATH names (several are separated as in PATH), else the ComfyUI in whose
    custom_nodes this pack lies and those in comfy-cli's default place (~/comfy/ComfyUI*), the newest first. A
    COMFYUI_PATH that holds no ComfyUI is an error, not a miss: whoever sets it wants the tests to run there.
    """
    named = [Path(path).expanduser().resolve() for path in os.environ.get("COMFYUI_PATH", "").split(os.pathsep) if path]
    for root in named:
        if not _is_comfyui(root):
            raise FileNotFoundError(f"COMFYUI_PATH names {root}, which has no main.py and comfyui_version.py.")
    if named:
        return named
    around = [PACK_ROOT.parent.parent] if PACK_ROOT.parent.name == "custom_nodes" else []
    default = sorted((Path.home() / "comfy").glob("ComfyUI*"))
    found = [root for root in around if _is_comfyui(root)]
    return found + sorted(filter(_is_comfyui, default), key=_version_numbers, reverse=True)


def find_comfyui() -> Path | None:
    """The root of the ComfyUI checkout in which the whole suite runs, or None."""
    return next(iter(find_comfyuis()), None)


def _version_numbers(root: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", comfyui_version(root))]


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


def read_workflow(name: str, folder: str = "workflows/api") -> dict:
    """A shipped one: as programs post it, or, in the folder “workflows”, as people open it."""
    return json.loads((PACK_ROOT / folder / f"{name}.json").read_text(encoding="utf-8"))


def self_contained() -> list[str]:
    """The workflows whose models all come with the pack, and that train none, which takes minutes."""

    def comes_along(node: dict) -> bool:
        chosen = {"RethinkLoadEditor": "editor", "RethinkLoadThinker": "backend"}.get(node["class_type"])
        takes_longer = node["class_type"].endswith("Loader") or node["class_type"] == "RethinkTrainEditLora"
        return not takes_longer and (not chosen or node["inputs"][chosen] == "built-in")

    paths = sorted((PACK_ROOT / "workflows" / "api").glob("*.json"))
    return [path.stem for path in paths if all(map(comes_along, json.loads(path.read_text("utf-8")).values()))]
