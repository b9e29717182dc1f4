"""Where images come from: connections or a folder for a synthesis, a folder with instructions for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io
from torch import Tensor

from ..rethink.comparison.tasks import tasks_from_folder
from ..rethink.errors import RethinkError
from ..rethink.images import as_image
from .comfy import folders, model_folders
from .inputs import NONE, AnyOption, broadcast, masks_for, single_value

if TYPE_CHECKING:
    from ..rethink.pairs.inverse.sources import ImageFolder, Source

CONNECTED, FOLDER = "connected pictures", "folder"
BOXES = "BOUNDING_BOX,BOUNDING_BOXES"  # together they are a socket; one alone would be a widget to draw with


class LoadInstructedImages(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkLoadInstructedImages",
            display_name="Load Images And Instructions",
            category="Rethink/Edit",
            description="Loads the images of a folder, each with the instruction from the text file of the same "
            "name, as two lists.",
            search_aliases=["image folder", "image text dataset", "batch of images", "captions", "prompts from files"],
            inputs=[
                _folder_input(
                    "A folder in ComfyUI's input folder, or in one listed under “datasets” in "
                    "extra_model_paths.yaml. Next to each image, a.jpg, is its instruction, a.txt."
                )
            ],
            outputs=[
                io.Image.Output("image", is_output_list=True, tooltip="The images, in order of name."),
                io.String.Output("instruction", is_output_list=True, tooltip="What to change in each."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> Any:
        return model_folders.files_fingerprint(folders.image_folder(folder, "folder"))

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        tasks = tasks_from_folder(folders.image_folder(folder, "folder"))
        return io.NodeOutput([task.load() for task in tasks], [task.instruction for task in tasks])


def pictures_inputs() -> list[io.Input]:
    """The inputs that `sources_of` reads: where the images come from, and what is connected."""
    # Only choices with widgets: the front end cannot start with a choice that adds only sockets.
    places = [io.DynamicCombo.Option(CONNECTED, []), io.DynamicCombo.Option(FOLDER, _folder_inputs())]
    return [
        io.DynamicCombo.Input(
            "pictures",
            options=places,
            tooltip="Where the images come from: the connected ones, or a folder with any number of files, read one "
            "by one.",
        ),
        *_connected_inputs(),
    ]


def sources_of(
    pictures: dict[str, list], image: Sequence[Tensor], mask: Sequence[Tensor | None], boxes: Sequence[Any]
) -> ImageFolder | list[Source]:
    """The images that the inputs select, each input a list."""
    from ..rethink.pairs.inverse.connected import read_boxes, write_source
    from ..rethink.pairs.inverse.sources import ImageFolder

    if first(pictures["pictures"]) == FOLDER:
        masks = single_value("masks", pictures["masks"])
        return ImageFolder(
            folders.image_folder(single_value("folder", pictures["folder"]), "folder"),
            None if masks == NONE else folders.image_folder(masks, "masks"),
        )
    images = [as_image(batch) for batch in image if batch is not None]
    if not images:
        raise RethinkError("image: connect images, or choose a folder.")
    for name, values in (("mask", mask), ("boxes", boxes)):
        if len(values) not in (1, len(images)):
            raise RethinkError(f"{name}: a list of {len(images)} images needs 1 or {len(images)}, got {len(values)}.")
    sources = {}
    for batch, area, found in zip(images, masks_for(images, mask), broadcast(boxes, len(images))):
        areas = [None] * len(batch) if area is None else area.expand(len(batch), -1, -1)
        for single, where, named in zip(batch, areas, read_boxes(found, batch)):
            source = write_source(folders.temp_path("rethink"), single, where, named)
            sources[source.name] = source  # the same image counts once
    return list(sources.values())


def fingerprint(pictures: dict[str, Any]) -> Any:
    """Changes when files of the folders change, so that the node runs again."""
    if first(pictures["pictures"]) != FOLDER:
        return None
    chosen = {input: first(pictures[input]) for input in ("folder", "masks")}
    return [
        model_folders.files_fingerprint(folders.image_folder(name, input))
        for input, name in chosen.items()
        if name != NONE
    ]


def _connected_inputs() -> list[io.Input]:
    return [
        io.Image.Input(
            "image", optional=True, tooltip="Real images, if no folder is chosen: an image, a batch, or a list."
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="The place to damage, from any node that makes masks. Without a mask, the seed chooses a random "
            "place.",
        ),
        io.Custom(BOXES).Input(
            "boxes",
            optional=True,
            tooltip="Places to damage, from a detector: one box is chosen at random for every pair. Its label names "
            "the place.",
        ),
    ]


def _folder_inputs() -> list[io.Input]:
    return [
        _folder_input(
            "A folder with its subfolders, in ComfyUI's input folder or in one listed under “datasets” in "
            "extra_model_paths.yaml.",
            optional=True,
        ),
        io.Combo.Input(
            "masks",
            optional=True,
            options=AnyOption([NONE, *folders.image_folders()]),
            default=NONE,
            tooltip="A folder of masks with the same file names and any image extension: white where the subject is, "
            "or cutouts of it.",
        ),
    ]


def _folder_input(tooltip: str, optional: bool = False) -> io.Input:
    names = folders.image_folders()
    return io.Combo.Input("folder", optional=optional, options=AnyOption(names), default=names[0], tooltip=tooltip)


def first(values: Any) -> Any:
    """The value of an input, which may be wrapped in a list."""
    return values[0] if isinstance(values, (list, tuple)) else values
