"""Editor From Model where there is no ComfyUI: what it tells models by, and that it says what it needs.

What it does with them: tests/comfyui/test_native.py.
"""

import pytest


def test_it_says_that_it_needs_comfyui(classes, RethinkError):
    node = classes["RethinkEditorFromModel"]
    wired = {"model": object(), "clip": object(), "vae": object()}
    with pytest.raises(RethinkError, match="^model: ComfyUI's own models need a real and recent ComfyUI; [^\n]*$"):
        node.execute(**wired, sampler="default", scheduler="default", megapixels=0.0, kind="auto")
