"""Sets up what is missing and runs one of two things: `python start.py demo`, `python start.py test`.

Uses the virtual environment it is started in, else makes `.venv` beside itself. For a stand-alone copy only:
in ComfyUI, ComfyUI-Manager installs requirements.txt into ComfyUI's own environment.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The tests share the cores: each process starts what it needs, takes a stretch of them, and helps the others at the end.
PARALLEL = ["-n", "logical", "--maxprocesses", "4", "--dist", "worksteal"]
JOBS = {"demo": ["-m", "rethink", "demo"], "test": ["-m", "pytest", *PARALLEL]}
# A version that was tested, for this environment alone; ComfyUI brings its own torch, which nothing here touches.
TORCH = "torch==2.13.0"


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in JOBS:
        print("usage: python start.py demo|test [options of the demo or of pytest]", file=sys.stderr)
        return 2
    job, options = sys.argv[1], sys.argv[2:]
    python = environment()
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        install(python, "PyTorch", TORCH)
    install(python, "the requirements", "-r", str(HERE / "requirements.txt"))
    if job == "test":
        install(python, "what the tests need", "pytest", "pytest-xdist", "playwright", "trl", "transformers[serving]")
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process a core already
    return subprocess.run([python, *JOBS[job], *options], cwd=HERE).returncode


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
