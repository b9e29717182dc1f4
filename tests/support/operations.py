"""Operations applied in tests: to a whole image, a drawn region, or the box and mask that they need."""

import numpy as np

from rethink.pairs.inverse.operations import (
    Region,
    apply_operation,
    bounding_box,
    get_operation,
    sample_region,
    whole_image,
)


def region_for(operation, image, rng):
    """A region that an operation can work on: a box, a disk as its mask, one drawn by rule, or the whole image."""
    height, width = image.shape[:2]
    if operation.where == "subject":
        y, x = np.ogrid[:height, :width]
        mask = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 4) ** 2
        return Region(bounding_box(mask), mask)
    if operation.where == "selection":
        return Region((width // 4, height // 4, width // 2, height // 2))
    return sample_region(image, rng) if operation.where == "region" else whole_image(image)


def apply_by_seed(id, image, seed=0, narrower=None, region=None):
    """The result of the operation `id` with everything drawn from a seed."""
    rng = np.random.default_rng(seed)
    operation = get_operation(id)
    values = operation.draw(rng, narrower or {})
    return apply_operation(operation, image, region or region_for(operation, image, rng), values, rng)
