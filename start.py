"""Install what is missing, then run `python start.py demo`, `test` or `check`.

Uses the virtual environment it is started in, or creates `.venv` next to itself. Only for a standalone copy:
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
# A tested version, for this environment only; ComfyUI brings its own torch, which nothing here touches.
TORCH = "torch==2.13.0"
TEST_PACKAGES = ["pytest", "pytest-xdist", "playwright", "trl", "transformers[serving]"]
# One more process than cores, because many tests wait for a server or a window (order and shares: tests/conftest.py).
PROCESSES = min(4, (os.cpu_count() or 1) + 1)
PARALLEL = ["-n", str(PROCESSES), "--dist", "loadscope", "--no-loadscope-reorder"]
CHECK_PACKAGES = ["ruff", "pyright[nodejs]"]
NODE = (20, 19)  # required by eslint and the web tests


def main() -> int:
    jobs = {"demo": demo, "test": test, "check": check}
    if len(sys.argv) < 2 or sys.argv[1] not in jobs:
        print("usage: python start.py demo|test|check [options for the demo or pytest]", file=sys.stderr)
        return 2
    python = environment()
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        install(python, "PyTorch", TORCH)
    install(python, "requirements", "-r", str(HERE / "requirements.txt"))
    return jobs[sys.argv[1]](python, sys.argv[2:])


def demo(python: str, options: list[str]) -> int:
    """Run the built-in models on an instruction and write a page that shows how they did it."""
    return run(python, "-m", "rethink", "demo", *options)


def test(python: str, options: list[str]) -> int:
    install(python, "the test packages", *TEST_PACKAGES)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is already one process per core
    return run(python, "-m", "pytest", *PARALLEL, *options)


def check(python: str, _: list[str]) -> int:
    """Check the Python code (lint, formatting, types), then the web code (the same plus unit tests); run every check."""
    install(python, "the check packages", *TEST_PACKAGES, *CHECK_PACKAGES)
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
        print(f"The web code is not checked: that needs Node.js {needed} or newer, with npm.", file=sys.stderr)
    return max(run(*command) for command in commands)


def node_version() -> tuple[int, ...]:
    """The version of the installed Node.js; () without one."""
    if not (node := shutil.which("node")):
        return ()
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", version))


def run(*command: str) -> int:
    return abs(subprocess.run(command, cwd=HERE).returncode)


def environment() -> str:
    """The Python executable to use."""
    if sys.prefix != sys.base_prefix:
        return sys.executable
    folder = HERE / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"creating a virtual environment in {folder}", flush=True)
        venv.create(folder, with_pip=True)
    return str(python)


def install(python: str, what: str, *packages: str) -> None:
    print(f"installing {what}", flush=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)


if __name__ == "__main__":
    sys.exit(main())
