"""Stand-in for what the executor knows of the node that is running."""

from types import SimpleNamespace


def get_executing_context():
    return SimpleNamespace(prompt_id="prompt", node_id="1")
