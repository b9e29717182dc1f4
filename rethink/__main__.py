"""`python -m rethink`, or `python FOLDER/rethink`: a portable ComfyUI's Python does not search the current folder for modules."""

import runpy
import sys
from pathlib import Path

if __package__:
    from .cli.main import run_command_line

    run_command_line()
else:
    package = Path(__file__).resolve().parent
    sys.path[0] = str(package.parent)
    runpy.run_module(package.name, run_name="__main__", alter_sys=True)
