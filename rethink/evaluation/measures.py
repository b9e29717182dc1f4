"""What can be measured of an edit: the one list behind the report of a score, its outputs, and the table of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["judge", "CLIP", "target", "outside the change", "reward models"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Measure:
    """One number about an edit. id, name: in the records of comparisons and of scores. title: over a column. scale: how its number is
    read; help: what it says. digits: behind the point in a table; unit: behind those. better: which of two numbers."""

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


OVERALL = _judged(
    "judge", "overall", "Judge", "√(semantic · quality), of which each is the lower one of two scores: 0 to 10."
)
SEMANTIC = _judged("judge_semantic", "semantic", "Semantic", "The lower one of following and over-editing: 0 to 10.")
QUALITY = _judged("judge_quality", "quality", "Quality", "The lower one of naturalness and artifacts: 0 to 10.")
FOLLOWING = _judged(
    "judge_following", "instruction following", "Following", "Is everything there that was asked for: 0 to 10."
)
RESTRAINT = _judged(
    "judge_restraint", "over-editing", "Over-editing", "10: nothing else has changed, 0: everything has."
)
NATURALNESS = _judged(
    "judge_naturalness",
    "naturalness",
    "Naturalness",
    "Do light, perspective and style belong together: 0 to 10.",
)
ARTIFACTS = _judged("judge_artifacts", "artifacts", "Artifacts", "10: there are none, 0: they are everywhere.")

DIRECTION = Measure(
    "clip_direction",
    "CLIP",
    "direction similarity",
    "CLIP direction",
    "1 is the most",
    "CLIP's, of the change of the images and that of the captions: 1 is the most.",
)
IMAGE_SIMILARITY = Measure(
    "clip_image",
    "CLIP",
    "image similarity",
    "CLIP image",
    "1 is the most",
    "CLIP's, of the source and the edited image: 1 is the most.",
    3,
)

TARGET_REACHED = Measure(
    "target_changed",
    "target",
    "target reached",
    "Target reached",
    "0 to 1",
    "How much of the known target's change is there, 0 to 1.",
)
TARGET_KEPT = Measure(
    "target_kept",
    "target",
    "target kept",
    "Target kept",
    "0 to 1",
    "Share of what the known target leaves alone that was left alone.",
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
    "dB, 99 is equal",
    "Of what should not change, against the source, in dB: above 35 nobody sees a difference, 99 is equal.",
    1,
    " dB",
)
SSIM = Measure(
    "outside_ssim",
    "outside the change",
    "SSIM",
    "SSIM outside",
    "1 is equal",
    "Of what should not change, against the source: 1 is equal.",
    3,
)

LPIPS = Measure(
    "lpips",
    "outside the change",
    "LPIPS",
    "LPIPS outside",
    "0 is equal",
    "Perceptual distance of what should not change from the source: 0 is equal.",
    3,
    better="lower",
)
DINO = Measure(
    "dino",
    "outside the change",
    "DINO similarity",
    "DINO outside",
    "1 is equal",
    "Similarity of what should not change to the source, by DINO: 1 is equal.",
    3,
)
DREAMSIM = Measure(
    "dreamsim",
    "outside the change",
    "DreamSim",
    "DreamSim outside",
    "0 is equal",
    "Distance of what should not change from the source, by DreamSim: 0 is equal.",
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

# In the order in which a table has them.
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
