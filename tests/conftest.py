"""Says in the summary which hosts the nodes ran on: the stand-in, or the stand-in and each real ComfyUI."""

import signal
import sys

import pytest

from tests.browsers import browser  # noqa: F401  (a fixture)
from tests.support.hosts import comfyui_version, find_comfyuis


@pytest.fixture(autouse=True)
def owner(tmp_path_factory, monkeypatch):
    """The settings file of the owner of this machine: there is none, until a test writes it."""
    file = tmp_path_factory.getbasetemp() / "owner" / "servers.json"
    file.unlink(missing_ok=True)
    monkeypatch.setenv("RETHINK_SERVERS", str(file))
    return file


@pytest.fixture(autouse=True)
def seeded():
    """Random images are the same no matter which tests ran before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


FIRST = ("tests/comfyui/window", "tests/comfyui")  # they take longest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Processes take whole files, and whole folders of ComfyUI's, as those share a server and a window."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            folder = file.rpartition("/")[0]
            return folder if folder in FIRST else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """Where several processes take them, those that take longest are begun first."""
    rank = {folder: place for place, folder in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0].rpartition("/")[0], len(FIRST)))


def pytest_configure():
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as a shell starts what runs beside it: no child would heed Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        find_comfyuis()
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_terminal_summary(terminalreporter):
    ran = [report.nodeid for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    roots = {comfyui_version(root): root for root in find_comfyuis()}
    newest = next(iter(roots), "")
    found = f"ComfyUI {newest} at {roots[newest]}" if roots else ""
    older = [version for version in roots if any("test_older_comfyui.py::" in name and version in name for name in ran)]
    if not found:
        line = "host: stand-in"
    elif any(name.startswith("tests/comfyui/") for name in ran):
        line = f"host: stand-in + {', '.join([found, *older])}"
    else:
        line = f"host: stand-in ({found} was found, but no test ran in it)"
    terminalreporter.write_line(line)
