"""A wheel holds all that the library needs, and every list of requirements says the same."""

import os
import re
import subprocess
import sys
import zipfile

import pytest

from tests.support.hosts import PACK_ROOT

PROJECT = (PACK_ROOT / "pyproject.toml").read_text(encoding="utf-8")


def listed(name: str) -> list[str]:
    return re.findall(r'"([^"]+)"', re.search(rf"^{name} = \[(.*?)\]", PROJECT, re.MULTILINE | re.DOTALL)[1])


def test_a_wheel_needs_what_comfyui_manager_installs():
    assert sorted(listed("dependencies")) == sorted((PACK_ROOT / "requirements.txt").read_text().split())
    assert not any(re.search("[=<>~]", name) for name in listed("dependencies")), "nothing is pinned"
    assert "torch" not in listed("dependencies")


def test_a_wheel_thinks_with_no_checkout_beside_it(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(PACK_ROOT)]
    built = subprocess.run(build, capture_output=True, text=True)
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("what builds wheels cannot be had here")
    assert not built.returncode, built.stderr
    (wheel,) = tmp_path.glob("rethink-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert not [name for name in names if not name.startswith(("rethink/", "rethink-"))]
    command = [sys.executable, "-m", "rethink", "demo", "-o", "demo.html"]
    run = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True
    )
    assert not run.returncode, run.stderr
    assert "class Viewer" in (tmp_path / "demo.html").read_text(encoding="utf-8")
