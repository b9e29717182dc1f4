"""The node that aligns an edit with its source and restores the source's own pixels wherever nothing was changed."""

from comfy_api.latest import io
from torch import Tensor

from .comfy import progress


class KeepUnchangedPixels(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkKeepUnchangedPixels",
            display_name="Keep Unchanged Pixels",
            category="Rethink/Edit",
            description="Undoes the shift, zoom and color drift of an edit, and restores the source's own pixels "
            "wherever the edit changed nothing. Works with the edits of any editor.",
            search_aliases=[
                "pixel shift",
                "zoom fix",
                "align",
                "register",
                "colour drift",
                "color match",
                "paste back",
                "change mask",
            ],
            inputs=[
                # The edit comes first: for a bypassed node, ComfyUI passes on the first input of an output's type.
                io.Image.Input(
                    "edited",
                    tooltip="The image after the edit, of any size. Several edits of one source can be a batch.",
                ),
                io.Image.Input("source", tooltip="The image before the edit: one, or a batch."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the image may change. Everything outside is restored from the source, and only "
                    "there are the two compared to find the shift. Leave it out to detect changes everywhere.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    is_output_list=True,
                    tooltip="The source's own pixels, bit for bit, except for the changes; at the source's size. If "
                    "everything was changed, or the two have nothing in common: the edit as it came.",
                ),
                io.Mask.Output("changes", is_output_list=True, tooltip="1 on the edit's pixels, 0 on the source's."),
                _number("shift_x", "How many pixels too far right the edit is."),
                _number("shift_y", "How many pixels too far down the edit is."),
                _number("zoom", "The scale of the edit relative to the source: 1 means no zoom."),
                _number("changed", "The share of pixels taken from the edit, from 0 to 1."),
                io.String.Output("report", is_output_list=True, tooltip="All of this in one line."),
            ],
        )

    @classmethod
    def execute(cls, source: Tensor, edited: Tensor, mask: Tensor | None = None) -> io.NodeOutput:
        from ..rethink.alignment.compositing import keep_unchanged

        report = progress.edit_progress(0, 1, previews=False)
        kept = keep_unchanged(source, edited, mask, on_image=lambda done, total: report(done, total, lambda: edited))
        return io.NodeOutput(
            [one.image[None] for one in kept],
            [one.mask[None] for one in kept],
            [one.shift[0] for one in kept],
            [one.shift[1] for one in kept],
            [one.zoom for one in kept],
            [one.changed for one in kept],
            [str(one) for one in kept],
        )


def _number(name: str, tooltip: str) -> io.Float.Output:
    return io.Float.Output(name, display_name=name.replace("_", " "), is_output_list=True, tooltip=tooltip)
