"""Boxes as the mask of the next turn."""

import pytest
import torch

from rethink.focus import focus_boxes, focus_mask
from rethink.loop_config import LoopConfig
from rethink.steps import Continue, Region
from rethink.think_loop import warn_of_no_boxes
from rethink.thinkers.critique import Thinker
from tests.support.thinking import SOURCE, Painter, Says, drained, said, start_thinking, thinker

PLACE, WRONG, CHANGED = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 0.75, 0.75), (0.75, 0.0, 1.0, 0.25)
ALL = (Region("place", PLACE), Region("wrong", WRONG), Region("changed", CHANGED))
GRAY = torch.zeros(1, 16, 32, 3)
POINTED = '<boxes>[{"bbox_2d": [0, 0, 250, 500], "kind": "place", "label": "the star"}]</boxes>'


@pytest.mark.parametrize(
    ("config", "regions", "boxes"),
    [
        ({}, ALL, ()),
        ({"focus": True}, ALL, (PLACE, WRONG)),  # the source still has what was changed
        ({"focus": True}, ALL[1:], ()),  # what is right already would be lost
        ({"focus": True, "base": "previous"}, ALL[1:], (WRONG, CHANGED)),
        ({"focus": True}, (), ()),
    ],
)
def test_which_boxes_hold_the_next_turn(config, regions, boxes):
    assert focus_boxes(regions, LoopConfig(**config)) == boxes


def test_the_mask_is_the_union_of_the_boxes_and_their_margins():
    mask = focus_mask([(0.0, 0.0, 0.25, 0.5), (0.5, 0.5, 0.75, 1.0)], GRAY, 0.0)
    assert mask.shape == (1, 16, 32) and mask.sum() == 2 * 8 * 8 and mask[0, :8, :8].all() and mask[0, 8:, 16:24].all()
    grown = focus_mask([(0.5, 0.5, 0.75, 0.75)], GRAY, 1 / 16)
    assert grown.sum() == 8 * 12 and grown[0, 6:14, 14:26].all()
    assert focus_mask([(0.5, 0.5, 0.501, 0.501)], GRAY, 0.0).sum() == 1, "no box is nothing"


def test_a_mask_of_the_user_stays_the_limit():
    own = torch.zeros(1, 16, 32)
    own[:, :, :4] = 1
    assert focus_mask([], GRAY, 0.1, own) is own and focus_mask([], GRAY, 0.1) is None
    assert focus_mask([(0.0, 0.0, 0.25, 0.5)], GRAY, 0.0, own).sum() == 8 * 4
    assert focus_mask([(0.5, 0.5, 1.0, 1.0)], GRAY, 0.0, own) is own, "nothing would be left to change"


def think(critic, editor=None, **options):
    return drained(start_thinking(editor or Painter(), critic, SOURCE, "make it red", **options))


class Masked(Painter):
    masks = ()

    def edit(self, *arguments, mask=None, **options):
        self.masks += (mask,)
        return super().edit(*arguments, **options)


def test_a_prompt_of_a_person_is_free():
    painter = Masked()
    critic = thinker(said(3, 3, "b") + POINTED)
    steps, _ = think(critic, painter, turns=2, focus=True, steer=lambda *_: Continue("my way", "human"))
    assert painter.masks == (None, None) and steps[1].focus == ()


def test_a_run_in_focus_holds_each_later_turn_to_the_boxes():
    painter = Masked()
    steps, _ = think(
        thinker(said(3, 3, "b") + POINTED, said(4, 4)), editor=painter, turns=3, focus=True, focus_margin=0
    )
    first, second, third = painter.masks
    assert first is None and second.sum() == 8 * 4 and third is None, "the second turn had no boxes"
    assert [step.focus for step in steps] == [(), ((0, 0, 0.25, 0.5),), ()]
    assert steps[0].critique.regions[0].label == "the star"
    assert think(thinker(said(3, 3, "b") + POINTED), turns=2, regions=True)[0][1].focus == (), "only looked at"


def test_boxes_come_from_the_thinker_and_not_from_the_judge_or_in_another_wording():
    judge, critic = thinker(said(3, 3)), thinker(said(1, 1, "b") + POINTED)
    steps, _ = think(critic, judge=judge, turns=1, regions=True)
    assert steps[0].critique.regions and "<boxes>" not in judge.chat.asked[0].text
    own = Thinker(critic.chat, "{source}{edited}{instruction}")
    think(own, turns=1, regions=True)
    assert "<boxes>" not in critic.chat.asked[-1].text


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({}, ""),
        ({"regions": True}, "regions: the thinker has its own template"),
        ({"focus": True, "regions": True}, "regions and focus: "),
    ],
)
def test_boxes_that_nobody_can_be_asked_for_are_said(options, warning):
    config = LoopConfig(**options)
    asked = warn_of_no_boxes(Thinker(Says()), config)
    not_asked = warn_of_no_boxes(Thinker(Says(), "{source}{edited}{instruction}"), config)
    assert asked == "" and not_asked.startswith(warning) and bool(not_asked) == bool(warning)
