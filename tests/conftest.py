"""Says in the summary which host the nodes ran on: the stand-in, or the stand-in and a real ComfyUI."""

import pytest

from tests.browsers import browser  # noqa: F401  (a fixture)
from tests.support.hosts import comfyui_version, find_comfyui


@pytest.fixture(autouse=True)
def owner(tmp_path_factory, monkeypatch):
    """The settings file of the owner of this machine: there is none, until a test writes it."""
    file = tmp_path_factory.getbasetemp() / "owner" / "servers.json"
    file.unlink(missing_ok=True)
    monkeypatch.setenv("RETHINK_SERVERS", str(file))
    return file


def pytest_configure():
    try:
        find_comfyui()
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_terminal_summary(terminalreporter):
    ran = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    in_comfyui = any(report.nodeid.startswith("tests/comfyui/") for report in ran)
    root = find_comfyui()
    found = f"ComfyUI {comfyui_version(root)} at {root}" if root else ""
    if not root:
        line = "host: stand-in"
    elif in_comfyui:
        line = f"host: stand-in + {found}"
    else:
        line = f"host: stand-in ({found} was found, but no test ran in it)"
    terminalreporter.write_line(line)
