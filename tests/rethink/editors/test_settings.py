"""What is left open, what is out of range, and what an edit really used."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from rethink.editors.settings import Settings, summarize_settings, used_settings
from rethink.errors import RethinkError


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"steps": -1}, "steps: "),
        ({"steps": 1001}, "steps: "),
        ({"text_guidance": float("nan")}, "text_guidance: "),
        ({"image_guidance": -0.5}, "image_guidance: "),
        ({"strength": 1.5}, "strength: "),
    ],
)
def test_settings_out_of_range(settings, complaint):
    with pytest.raises(RethinkError, match=f"^{complaint}"):
        Settings(**settings)


def test_what_is_left_open_comes_from_the_defaults():
    defaults = Settings(steps=20, text_guidance=7.5, sampler="ddim")
    assert Settings(steps=3).resolved(defaults) == Settings(steps=3, text_guidance=7.5, sampler="ddim")


def test_nodes_and_files_call_the_negative_prompt_negative():
    settings = Settings.from_inputs({"steps": 4, "negative": "rain"})
    assert settings == Settings(steps=4, negative_prompt="rain") and settings.as_inputs()["negative"] == "rain"
    assert Settings.from_inputs(settings.as_inputs()) == settings
    with pytest.raises(TypeError):
        Settings.from_inputs({"step": 4})


def test_what_an_editor_has_left_out_is_not_told():
    picky = SimpleNamespace(
        defaults=Settings(steps=20),
        family=SimpleNamespace(guides_by_image=False),
        sent_settings=lambda settings: replace(settings, text_guidance=0.0),
    )
    assert used_settings(picky, Settings(text_guidance=3)) == {"steps": 20, "sampler": "default"}


def test_what_plays_no_part_in_an_edit_is_not_told():
    defaults = Settings(steps=20, text_guidance=7.5, image_guidance=1.5, strength=0.5)
    both = SimpleNamespace(defaults=defaults, family=SimpleNamespace(guides_by_image=True))
    used = used_settings(both, Settings(steps=3, negative_prompt="rain", randomize_guidance=True))
    common = {"steps": 3, "sampler": "default", "text_guidance": 7.5, "negative": "rain", "randomize_guidance": True}
    assert used == common | {"image_guidance": 1.5, "strength": 0.5}
    line = "3 steps · text guidance 7.5 ± 20 % by seed · image guidance 1.5 ± 20 % by seed · strength 0.5"
    assert summarize_settings(used) == line

    text_only = SimpleNamespace(defaults=replace(defaults, strength=0.0), family=SimpleNamespace(guides_by_image=False))
    used = used_settings(text_only, Settings(sampler="euler", text_guidance=2.00001))
    assert used == {"steps": 20, "sampler": "euler", "text_guidance": 2.0}
    assert summarize_settings(used) == "20 steps · text guidance 2 · sampler euler"
