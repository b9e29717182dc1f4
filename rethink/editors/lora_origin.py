"""What a LoRA was trained on, by its header."""

from __future__ import annotations

from collections.abc import Mapping

FIELDS = ("ss_base_model_version", "modelspec.base_model", "modelspec.architecture")  # the first that there is counts
LONGEST = 60  # letters of what stands there


def describe_origin(metadata: Mapping[str, str]) -> str:
    """For a message about a file that does not fit: the model that it was made for, after “made for”."""
    texts = (" ".join(metadata.get(field, "").split()) for field in FIELDS)
    name = next((text for text in texts if text), "")
    return f"another model, {name[:LONGEST]} by its header" if name else "another model"
