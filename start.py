"""Sets up what is missing and runs one of three things: `python start.py demo`, `test` or `check`.

Uses the virtual environment it is started in, else makes `.venv` beside itself. For a stand-alone copy only:
in ComfyUI, ComfyUI-Manager installs requirements.txt into ComfyUI's own environment.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A version that was tested, for this environment alone; ComfyUI brings its own torch, which nothing here touches.
TORCH = "torch==2.13.0"
TEST_PACKAGES = ["pytest", "pytest-xdist", "playwright", "trl", "transformers[serving]"]
# One process more than cores, as many tests wait for a server or a window (order and shares: tests/conftest.py).
PROCESSES = min(4, (os.cpu_count() or 1) + 1)
PARALLEL = ["-n", str(PROCESSES), "--dist", "loadscope", "--no-loadscope-reorder"]
CHECK_PACKAGES = ["ruff", "pyright[nodejs]"]
NODE = (20, 19)  # what eslint and the tests of the web part need


def main() -> int:
    jobs = {"demo": demo, "test": test, "check": check}
    if len(sys.argv) < 2 or sys.argv[1] not in jobs:
        print("usage: python start.py demo|test|check [options of the demo or of pytest]", file=sys.stderr)
        return 2
    python = environment()
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        install(python, "PyTorch", TORCH)
    install(python, "the requirements", "-r", str(HERE / "requirements.txt"))
    return jobs[sys.argv[1]](python, sys.argv[2:])


def demo(python: str, options: list[str]) -> int:
    """The built-in models work out an instruction, and a page shows how."""
    return run(python, "-m", "rethink", "demo", *options)


def test(python: str, options: list[str]) -> int:
    install(python, "what the tests need", *TEST_PACKAGES)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process a core already
    return run(python, "-m", "pytest", *PARALLEL, *options)


def check(python: str, _: list[str]) -> int:
    """Lint, layout and types of the Python part, then the same and the unit tests of the web part; all of them run."""
    install(python, "what the checks need", *TEST_PACKAGES, *CHECK_PACKAGES)
    commands = [
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "pyright", "--pythonpath", python],
    ]
    npm = shutil.which("npm")
    if npm and node_version() >= NODE:
        commands += [[npm, "install", "--no-audit", "--no-fund", "--silent"], [npm, "test"]]
    else:
        needed = ".".join(map(str, NODE))
        print(f"The web part is not checked: that needs Node.js {needed} or newer, with npm.", file=sys.stderr)
    return max(run(*command) for command in commands)


def node_version() -> tuple[int, ...]:
    """Of the Node.js that is found, or nothing."""
    if not (node := shutil.which("node")):
        return ()
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", version))


def run(*command: str) -> int:
    return abs(subprocess.run(command, cwd=HERE).returncode)


def environment() -> str:
    """The Python to use."""
    if sys.prefix != sys.base_prefix:
        return sys.executable
    folder = HERE / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making a virtual environment in {folder}", flush=True)
        venv.create(folder, with_pip=True)
    return str(python)


def install(python: str, what: str, *packages: str) -> None:
    print(f"installing {what}", flush=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)


if __name__ == "__main__":
    sys.exit(main())
