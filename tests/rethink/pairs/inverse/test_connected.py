"""Sources from images that lie in memory."""

import hashlib

import torch

from rethink.pairs.inverse.connected import read_boxes, write_source


def test_a_store_from_before_knows_an_image_with_a_box_by_its_name(tmp_path):
    """The pairs that were made of it are not made again."""
    image = torch.full((1, 4, 4, 3), 0.5)
    box = {"x": 0, "y": 0, "width": 2, "height": 2, "label": "cup"}
    source = write_source(tmp_path, image[0], None, read_boxes(box, image)[0])
    where = "(Spot(box=(0.0, 0.0, 0.5, 0.5), place='the cup', hidden=''),)"
    assert source.name.endswith("-" + hashlib.sha256(where.encode()).hexdigest()[:12])
