"""References, the settings of each row for a record, and what a denoiser is called with."""

from types import SimpleNamespace

import pytest
import torch

from rethink.editors.protocol import LoraReport, check_references, used_settings_by_row
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from tests.support import editor_miniatures as miniatures
from tests.support.family_miniatures import MINIATURES, SIDE

FAMILY = SimpleNamespace(title="Tiny", references=2, guides_by_image=False)
IMAGE = torch.zeros(1, 4, 6, 3)


def test_references_are_counted_and_come_one_by_one():
    assert len(check_references([IMAGE, IMAGE], FAMILY)) == 2
    with pytest.raises(
        RethinkError, match=r"^references: got 3 images, but Tiny takes at most 2 besides the source\.$"
    ):
        check_references([IMAGE] * 3, FAMILY)
    with pytest.raises(RethinkError, match="^references: got a batch of images; give them one by one"):
        check_references([IMAGE.repeat(2, 1, 1, 1)], FAMILY)


def test_rows_are_told_with_what_they_drew_and_an_editor_that_cannot_tell_leaves_it_open():
    rows = [Settings(steps=4, text_guidance=scale) for scale in (7.00004, 8.0)]
    editor = SimpleNamespace(
        family=FAMILY, defaults=Settings(steps=4, text_guidance=7.5), effective_settings=lambda *_: rows
    )
    told = used_settings_by_row(editor, None, [1, 2], Settings())
    assert told == [{"steps": 4, "sampler": "default", "text_guidance": scale} for scale in (7.0, 8.0)]
    assert used_settings_by_row(SimpleNamespace(), None, [1, 2], Settings()) == [None, None]


def test_a_lora_report_names_what_did_not_fit():
    assert str(LoraReport("style", 2, ("a.b",))) == "style: 2 of 3 layers fit.\n  not used: a.b"


@pytest.mark.parametrize("kind", MINIATURES)
def test_what_the_denoiser_is_called_with_is_what_an_edit_calls_it_with(kind, editor_of, monkeypatch):
    miniatures.shrink(monkeypatch)
    editor, source = editor_of(miniatures.available(kind)), torch.rand(1, SIDE, SIDE, 3)
    seen, denoiser = [], editor.module[editor.denoiser_name]
    hook = denoiser.register_forward_pre_hook(
        lambda module, args, options: seen.append((args, options)), with_kwargs=True
    )
    try:
        one_step = Settings(steps=1, text_guidance=1.0, image_guidance=1.0, strength=1.0)
        editor.edit(editor.prepare(source), ["make it red"], [1], one_step)
        found = editor.denoiser_inputs(editor.prepare(source), "make it red")
    finally:
        hook.remove()
    assert len(seen) == 2, "one step of an edit, and one call that ends there"
    arguments, options = seen[0]
    for name, value in options.items():
        if isinstance(value, torch.Tensor) and name not in ("hidden_states", "timestep"):
            assert torch.equal(found[name], value), name
    main = next(iter(found.values()))
    first = arguments[0] if arguments else options["hidden_states"]
    assert main.shape == first.shape and not denoiser._forward_pre_hooks
