"""Records of thinking runs that never ran."""

import torch

from rethink.trajectory import Critique, Preservation, Step, new_trajectory

PRESERVED = Preservation(0.1, 40.0, False)


def write_trajectory(folder, scores, stopped="turns", judged=(), preserved=PRESERVED):
    """A run whose turn t got scores[t] and was edited with "prompt t"."""
    image = torch.zeros(1, 8, 8, 3)
    run = new_trajectory(folder, image, "make it red", {"kind": "color"})
    for turn, score in enumerate(scores):
        critique = Critique("ok", score, score, f"reason {turn}", f"prompt {turn + 1}")
        scorer = Critique("ok", judged[turn], judged[turn]) if judged else None
        run = run.append_step(
            Step(turn + 1, 0, f"prompt {turn}", "thinker", turn, critique, preserved, score, 1.0, 1.0, scorer, image)
        )
    return run.finish(stopped)
