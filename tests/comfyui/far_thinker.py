"""A prompt whose thinker is on a machine that the owner has not allowed."""

FAR = "http://192.0.2.1:8000"  # nobody's


def far_graph():
    """Only loads a thinker far away, and asks it nothing that it could answer in a second."""
    backend = {"base_url": f"{FAR}/v1", "model": "m", "key_variable": "", "timeout": 1, "retries": 0, "concurrency": 1}
    thinker = {"backend": "server", **{f"backend.{name}": value for name, value in backend.items()}}
    judged = {"thinker": ["3", 0], "source": ["2", 0], "edited": ["2", 0], "instruction": "make it red", "seed": 1}
    prompt = {
        "2": ("RethinkScene", {"seed": 10, "level": "plain"}),
        "3": ("RethinkLoadThinker", thinker),
        "4": ("RethinkCritiqueEdit", judged),
        "5": ("PreviewAny", {"source": ["4", 2]}),
    }
    return {node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in prompt.items()}
