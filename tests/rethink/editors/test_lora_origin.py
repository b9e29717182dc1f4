"""What a LoRA's header says it was trained on."""

import pytest

from rethink.editors.lora_origin import LONGEST, describe_origin


@pytest.mark.parametrize(
    ("metadata", "made_for"),
    [
        ({}, "another model"),
        ({"ss_base_model_version": " "}, "another model"),
        (
            {"ss_base_model_version": "flux2_klein", "modelspec.architecture": "x"},
            "another model, flux2_klein according to its header",
        ),
        (
            {"modelspec.architecture": "flux-1-kontext/lora"},
            "another model, flux-1-kontext/lora according to its header",
        ),
        (
            {"modelspec.base_model": "a\nb" * LONGEST},
            f"another model, {('a b' * LONGEST)[:LONGEST]} according to its header",
        ),
    ],
)
def test_the_first_field_that_says_something_counts(metadata, made_for):
    assert describe_origin(metadata) == made_for
