"""Commands run as their user runs them, in a process of their own or in this one."""

import subprocess
import sys

from rethink.cli.main import main
from tests.support.hosts import PACK_ROOT


def run_process(*arguments):
    """The finished process of `python -m rethink`, with what it wrote."""
    command = [sys.executable, "-m", "rethink", *map(str, arguments)]
    return subprocess.run(command, cwd=PACK_ROOT, capture_output=True, text=True, timeout=300)


def run_here(capfd, *arguments):
    """A command in this process: (exit code, its lines, the lines that say what is wrong)."""
    capfd.readouterr()
    code = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return code, out.splitlines(), [line for line in err.splitlines() if line.startswith("rethink: ")]
