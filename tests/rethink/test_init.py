"""The library's public names: there, and brought in one by one."""

import subprocess
import sys

import pytest

import rethink
from tests.support.hosts import PACK_ROOT


def test_every_public_name_is_there():
    for name in rethink.__all__:
        assert getattr(rethink, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'color'"):
        _ = rethink.color


def test_importing_the_library_brings_in_neither_torch_nor_pillow():
    script = "import sys, rethink; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], cwd=PACK_ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
