"""What goes on where a node is bypassed: ComfyUI takes, for every output, an input of its type, by a rule of its own."""

import pytest

from tests.support.descriptions import inputs_of

# Every output that has an input of its type, and the input that stands in for it; a widget without a link passes nothing.
PASSED = {
    "RethinkCaptionToEdit": {
        "caption": "captions",
        "instruction": "captions",
        "edited_caption": "dataset",
        "report": "captions",
    },
    "RethinkCompareEditors": {"report": "name", "best": "name", "page": "name"},
    "RethinkCritiqueEdit": {
        "semantic": "accept_semantic",
        "quality": "accept_semantic",
        "reasoning": "instruction",
        "next_prompt": "instruction",
    },
    "RethinkEditChain": {"image": "image", "steps": "image"},
    "RethinkEditLoraLoader": {"editor": "editor"},
    "RethinkFilterEditPairs": {"accepted": "pairs", "rejected": "pairs"},
    "RethinkInverseEditSynthesizer": {"report": "dataset"},
    "RethinkKeepUnchangedPixels": {"image": "edited", "changes": "mask"},
    "RethinkPreviewPairs": {"accepted": "pairs"},
    "RethinkPromptToPromptPairs": {"report": "caption"},
    "RethinkRunBenchmark": {"report": "name", "table": "name", "page": "name", "results": "name"},
    "RethinkSampleEdit": {"image": "image"},
    "RethinkSaveEditDataset": {"folder": "name", "report": "name"},
    "RethinkSaveTrajectory": {"trajectory": "trajectory"},
    "RethinkScoreEdit": {"report": "instruction", "json": "instruction"},
    "RethinkTradeOffCurve": {
        "plot": "image",
        "report": "instruction",
        "json": "instruction",
        "page": "source_caption",
    },
    "RethinkTrainEditLora": {"editor": "editor", "lora": "name", "report": "name"},
    "RethinkTrainThinker": {"thinker": "thinker", "report": "name"},
    "RethinkTrajectoriesToDataset": {"folder": "name", "report": "name"},
    "RethinkTrajectoriesToPairs": {"report": "name"},
    "RethinkThinkLoopClose": {"image": "edited", "images": "edited"},
    "RethinkThinkLoopOpen": {"image": "image", "prompt": "instruction", "seed": "seed", "turn": "turns"},
    "RethinkThinkWhileEdit": {"image": "image", "images": "image", "prompt": "instruction"},
}


def passed_on(node: dict) -> dict[str, str]:
    """Output → input, as the front end's ExecutableNodeDTO finds it for a target of the output's own type."""
    inputs = [(name, described[0]) for name, described in inputs_of(node).items()]
    found = {}
    for slot, (name, io_type) in enumerate(zip(node["output_name"], node["output"])):
        same = [other for other, other_type in inputs if other_type == io_type]
        if slot < len(inputs) and inputs[slot][1] == io_type:
            found[name] = inputs[slot][0]
        elif same:
            found[name] = same[0]
    return found


def test_every_output_of_a_bypassed_node_is_what_the_table_says(classes, models):
    nodes = {i: passed_on(cls.describe()) for i, cls in classes.items() if i.startswith("Rethink")}
    assert {i: passed for i, passed in nodes.items() if passed} == PASSED


@pytest.mark.parametrize("kind", ["IMAGE", "MASK", "RETHINK_EDITOR", "RETHINK_PAIRS"])
def test_a_node_that_works_on_something_passes_that_on(classes, models, kind):
    """Not what it is compared with: a first input of the type is the one that is worked on."""
    for node_id, cls in classes.items():
        node = cls.describe()
        if node_id.startswith("Rethink") and kind in node["output"]:
            names = [name for name, described in inputs_of(node).items() if described[0] == kind]
            assert not names or names[0] in ("image", "edited", "mask", "editor", "pairs"), node_id
