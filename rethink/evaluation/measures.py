"""What can be measured about an edit: the one list behind a score's report and outputs, and a comparison's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["judge", "CLIP", "target", "outside the change", "reward models"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Measure:
    """One number about an edit. id, name: in the records of comparisons and scores. title: a column heading. scale: how
    to read the number. help: what it means. digits: decimals in a table. unit: written after them. better: which of two
    numbers is better."""

    id: str
    group: Group
    name: str
    title: str
    scale: str
    help: str
    digits: int = 2
    unit: str = ""
    better: Better = "higher"


def _judged(id: str, name: str, title: str, help: str) -> Measure:
    return Measure(id, "judge", name, title, "0 to 10, higher is better", help, 1)


OVERALL = _judged("judge", "overall", "Judge", "√(semantic · quality), each the lower of two scores: 0 to 10.")
SEMANTIC = _judged("judge_semantic", "semantic", "Semantic", "The lower of Following and Over-editing: 0 to 10.")
QUALITY = _judged("judge_quality", "quality", "Quality", "The lower of Naturalness and Artifacts: 0 to 10.")
FOLLOWING = _judged(
    "judge_following", "instruction following", "Following", "Whether everything that was asked for is there: 0 to 10."
)
RESTRAINT = _judged("judge_restraint", "over-editing", "Over-editing", "10: nothing else changed. 0: everything did.")
NATURALNESS = _judged(
    "judge_naturalness",
    "naturalness",
    "Naturalness",
    "Whether light, perspective and style fit together: 0 to 10.",
)
ARTIFACTS = _judged("judge_artifacts", "artifacts", "Artifacts", "10: no artifacts. 0: artifacts everywhere.")

DIRECTION = Measure(
    "clip_direction",
    "CLIP",
    "direction similarity",
    "CLIP direction",
    "1 is the maximum",
    "CLIP similarity of the change of the images to the change of the captions: 1 is the maximum.",
)
IMAGE_SIMILARITY = Measure(
    "clip_image",
    "CLIP",
    "image similarity",
    "CLIP image",
    "1 is the maximum",
    "CLIP similarity of the source and the edited image: 1 is the maximum.",
    3,
)

TARGET_REACHED = Measure(
    "target_changed",
    "target",
    "target reached",
    "Target reached",
    "0 to 1",
    "How much of the known target's change was made, 0 to 1.",
)
TARGET_KEPT = Measure(
    "target_kept",
    "target",
    "target kept",
    "Target kept",
    "0 to 1",
    "Share of the area that the known target leaves alone in which the edit changed nothing, 0 to 1.",
)

CHANGED = Measure(
    "changed",
    "outside the change",
    "changed",
    "Changed",
    "share of the image that visibly changed",
    "Share of the image that visibly changed, 0 to 1.",
    better="neither",
)
PSNR = Measure(
    "outside_psnr",
    "outside the change",
    "PSNR",
    "PSNR outside",
    "dB, 99 is identical",
    "PSNR of what should not change, against the source, in dB: above 35 nobody sees a difference, 99 is identical.",
    1,
    " dB",
)
SSIM = Measure(
    "outside_ssim",
    "outside the change",
    "SSIM",
    "SSIM outside",
    "1 is identical",
    "SSIM of what should not change, against the source: 1 is identical.",
    3,
)

LPIPS = Measure(
    "lpips",
    "outside the change",
    "LPIPS",
    "LPIPS outside",
    "0 is identical",
    "Perceptual distance of what should not change from the source: 0 is identical.",
    3,
    better="lower",
)
DINO = Measure(
    "dino",
    "outside the change",
    "DINO similarity",
    "DINO outside",
    "1 is identical",
    "DINO similarity of what should not change to the source: 1 is identical.",
    3,
)
DREAMSIM = Measure(
    "dreamsim",
    "outside the change",
    "DreamSim",
    "DreamSim outside",
    "0 is identical",
    "DreamSim distance of what should not change from the source: 0 is identical.",
    3,
    better="lower",
)
EDIT_SCORE = Measure(
    "editscore", "reward models", "EditScore", "EditScore", "0 to 10", "The reward model's score of the edit: 0 to 10."
)
EDIT_REWARD = Measure(
    "editreward",
    "reward models",
    "EditReward",
    "EditReward",
    "about -3 to 2, higher is better",
    "The reward model's score of the edit: about -3 to 2, higher is better.",
)

# In the order of a table's columns.
MEASURES = (
    OVERALL,
    SEMANTIC,
    QUALITY,
    FOLLOWING,
    RESTRAINT,
    NATURALNESS,
    ARTIFACTS,
    EDIT_SCORE,
    EDIT_REWARD,
    DIRECTION,
    TARGET_REACHED,
    IMAGE_SIMILARITY,
    PSNR,
    SSIM,
    LPIPS,
    DINO,
    DREAMSIM,
    TARGET_KEPT,
    CHANGED,
)
