"""Where the built-in models lie is known without anything heavy."""

import subprocess
import sys

import pytest

from rethink.builtin import CLIP_FOLDER, EDITOR_FOLDER, THINKER_FOLDER
from tests.support.hosts import PACK_ROOT


def test_it_needs_neither_torch_nor_numpy():
    script = "import sys, rethink.builtin; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], cwd=PACK_ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("folder", "file"),
    [(EDITOR_FOLDER, "model_index.json"), (CLIP_FOLDER, "config.json"), (THINKER_FOLDER, "config.json")],
)
def test_each_is_a_model_folder(folder, file):
    assert (folder / file).is_file()
