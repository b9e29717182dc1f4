"""Folders of training pairs."""

import json

import torch

from rethink.images import save_image


def write_pair_folder(folder, count=6):
    """A folder of pairs [40, 48] with `metadata.jsonl`, as InstructPix2Pix is trained on."""
    folder.mkdir()
    rows = []
    for index in range(count):
        save_image(torch.rand(1, 40, 48, 3), folder / f"{index} in.png")
        save_image(torch.rand(1, 40, 48, 3), folder / f"{index} out.png")
        names = {"input_image_file_name": f"{index} in.png", "edited_image_file_name": f"{index} out.png"}
        rows.append(json.dumps({**names, "edit_prompt": "make it red"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder
