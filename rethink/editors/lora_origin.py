"""Reads from a LoRA's header what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping

FIELDS = ("ss_base_model_version", "modelspec.base_model", "modelspec.architecture")  # the first one present counts
LONGEST = 60  # characters of the value


def describe_origin(metadata: Mapping[str, str]) -> str:
    """For a message about a file that does not fit: the model that it was made for, after “made for”."""
    texts = (" ".join(metadata.get(field, "").split()) for field in FIELDS)
    name = next((text for text in texts if text), "")
    return f"another model, {name[:LONGEST]} according to its header" if name else "another model"
