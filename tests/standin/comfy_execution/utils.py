"""Stand-in for what ComfyUI says about the node that runs."""

from types import SimpleNamespace

context = SimpleNamespace(prompt_id="prompt", node_id="1")


def get_executing_context():
    return context
