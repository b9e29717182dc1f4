"""Pairs of a store that are measured and decided on."""

import numpy as np

from rethink.pairs.review.filters import Thresholds, decide_verdicts
from rethink.pairs.store import EditPair
from tests.support.pairs import draw_image


def add_pair(store, name, before, after, region=None, **more):
    paths = {role: store.image_path(f"{name:>016}", role) for role in ("input", "target", "region")}
    store.write_image(paths["input"], before)
    store.write_image(paths["target"], after)
    if region is not None:
        store.write_image(paths["region"], region)
    pair = EditPair(
        f"{name:>016}", paths["input"], paths["target"], "Do it.", paths["region"] if region is not None else "", **more
    )
    store.add(pair)
    return pair


def reject_reasons(store, **thresholds):
    return {v["id"].lstrip("0"): v["why"] for v in decide_verdicts(store, Thresholds(**thresholds))}


def invert_region(seed=0, box=(20, 60)):
    picture = draw_image(seed=seed)
    damaged, region = picture.copy(), np.zeros(picture.shape[:2], bool)
    region[box[0] : box[1], box[0] : box[1]] = True
    damaged[region] = 255 - damaged[region]
    return damaged, picture, region
