"""Boxes in a critique: what is read, mended and left out."""

import json
import time
from dataclasses import replace

import pytest

from rethink.steps import MAX_REGIONS
from rethink.thinkers.regions import parse_regions, split_boxes

SIZE = (640, 480)
LIST = '[{"bbox_2d": [100, 200, 300, 400], "kind": "place", "label": "the hat"}]'


def boxes(block, size=SIZE, model=""):
    return [(region.kind, region.box) for region in parse_regions(block, size, model)]


@pytest.mark.parametrize(
    ("answer", "rest", "block"),
    [
        ("<answer>a</answer>", "<answer>a</answer>", ""),
        ("<answer>a</answer>\n<boxes>[]</boxes>", "<answer>a</answer>\n", "[]"),
        ("a<Boxes>[1", "a", "[1"),
        ("a<boxes>old</boxes>b<boxes>new</boxes>c", "aboxesoldbc", "new"),
        ("</boxes>a", "</boxes>a", ""),
        ("<think>in <boxes> then</think><score>s", "<think>in boxes then</think><score>s", " then"),
        ("<thinking>in <boxes> then</thinking><score>s", "<think>in boxes then</think><score>s", " then"),
        ("a<boxes>[1]\n<Checklist>c", "a<Checklist>c", "[1]\n"),
        ("a<boxes>[1]<score>s</score><answer>b</answer></boxes>", "a<score>s</score><answer>b</answer>", "[1]"),
        ("<answer>a</answer><boxes>[1<score>s</score>", "<answer>a</answer>", "[1<score>s</score>"),
        ('<answer>a</answer><boxes>["<answer>"]</boxes>', "<answer>a</answer>", '["<answer>"]'),
        (f"<answer>a</answer>\n```json\n{LIST}\n```", "<answer>a</answer>", LIST),
        (f"<answer>a</answer>\n<regions>{LIST}</regions>\n", "<answer>a</answer>", LIST),
        (f"<answer>a</answer> {LIST}", "<answer>a</answer>", LIST),
        (f"<answer>a</answer> was quoted: {LIST}", f"<answer>a</answer> was quoted: {LIST}", ""),
        ("<answer>a</answer>[1, 2]", "<answer>a</answer>[1, 2]", ""),
        (LIST, LIST, ""),
    ],
)
def test_the_block_is_cut_out_of_the_answer(answer, rest, block):
    assert split_boxes(answer) == (rest, block)


def test_a_box_has_a_kind_a_place_and_a_name():
    (region,) = parse_regions(LIST, SIZE)
    assert (region.kind, region.box, region.label) == ("place", (0.1, 0.2, 0.3, 0.4), "the hat")
    (bare,) = parse_regions("place(100,200),(300,400)", SIZE)
    assert bare == replace(region, label=""), "a kind is no name"


@pytest.mark.parametrize(
    "block",
    [
        '{"places": [{"box": [100, 200, 300, 400], "kind": "wrong"}]}',  # as places are asked for elsewhere
        '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "wrong"}]\n```',  # the kind as its name
        '[{"bbox_2d": [0.1, 0.2, 0.3, 0.4]}]',
        "[[100, 200, 300, 400]]",
        "[100, 200, 300, 400]",
        '[{"bbox_2d": [100, 200, 300, 400]}, {"bbox_2d": [5',  # cut off
        split_boxes("<boxes><|box_start|>(100,200),(300,400)<|box_end|>")[1],
        '[{"box_2d": [200, 100, 400, 300]}]',
        '[{"box_2d": {"left": 100, "top": 200, "right": 300, "bottom": 400}}]',
    ],
)
def test_every_format_is_read(block):
    assert boxes(block) == [("wrong", (0.1, 0.2, 0.3, 0.4))]


def test_pixels_are_pixels_of_the_image_as_it_was_shown():
    block = '[{"bbox_2d": [64, 48, 320, 240], "kind": "changed"}]'
    for model in ("Qwen2.5-VL-7B-Instruct", "qwen2_5-vl"):
        assert boxes(block, model=model) == [("changed", (0.1, 0.1, 0.5, 0.5))]
    assert boxes(block, model="Qwen3-VL-8B") == [("changed", (0.064, 0.048, 0.32, 0.24))]
    wide = "[[0, 0, 128, 32], [0, 0, 1280, 320]]"
    assert boxes(wide, (1280, 320)) == [("wrong", (0, 0, 0.1, 0.1)), ("wrong", (0, 0, 1, 1))], "one scale an answer"


@pytest.mark.parametrize(
    ("edges", "box"),
    [
        ([-50, 900, 500, 1400], (0, 0.9, 0.5, 1)),  # cut
        ([300, 400, 100, 200], (0.1, 0.2, 0.3, 0.4)),  # swapped
        ([100, 200, 100, 400], None),  # empty
        ([1100, 200, 1900, 400], None),  # outside
        ([100, 200, 300], None),
        (["a", 200, 300, 400], None),
        ([100, 200, 300, 1e999], None),
        ("1234", None),
        (None, None),
    ],
)
def test_boxes_are_cut_mended_or_left_out(edges, box):
    block = json.dumps([{"bbox_2d": edges}, {"bbox_2d": [500, 500, 600, 600]}])
    expected = [("wrong", box)] * (box is not None) + [("wrong", (0.5, 0.5, 0.6, 0.6))]
    assert boxes(block) == expected


@pytest.mark.parametrize(
    "block", ["", "none", "[]", "{", "[" * 50_000, '["a", 5, null]', "<boxes>", '{"a": {"b": 1}}', "null"]
)
def test_what_cannot_be_read_is_no_box(block):
    assert boxes(block) == []


def test_a_thousand_boxes_do_not_hurt():
    many = json.dumps([{"bbox_2d": [n % 900, 0, n % 900 + 50, 50]} for n in range(1000)])
    started = time.thread_time()
    assert len(boxes(many)) == MAX_REGIONS and time.thread_time() - started < 5  # of a slow processor
    assert len(boxes(json.dumps([[1, 2, 30, 40]] * 1000))) == 1, "the same is one"
