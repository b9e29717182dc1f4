"""Node and command offer the same: limits, defaults and help are those of the job's fields."""

from argparse import _SubParsersAction

import pytest

EDITOR, LORA = "RethinkLoadEditor", "RethinkEditLoraLoader"
SYNTHESIS, CAPTIONS = "RethinkInverseEditSynthesizer", "RethinkCaptionToEdit"
PROMPTS, FILTER = "RethinkPromptToPromptPairs", "RethinkFilterEditPairs"
SCORE, CURVE = "RethinkScoreEdit", "RethinkTradeOffCurve"
OF_SYNTHESIS = ("rethink.pairs.inverse.job", "SynthesisJob")
OF_CONFIG = ("rethink.pairs.inverse.drafts", "SynthesisConfig")
OF_DRAWING = ("rethink.pairs.from_captions.prompt_to_prompt", "P2PConfig")
OF_SELECTION = ("rethink.pairs.from_captions.selection", "Selection")
OF_LOADING = ("rethink.editors.settings", "LoadSettings")
OF_SCORE = ("rethink.scoring.job", "ScoreJob")
OF_CURVE = ("rethink.benchmarking.trade_off", "TradeOffJob")
THRESHOLDS = ("rethink.pairs.review.filters", "Thresholds")


# (node, its input, the job's class, its field, command, its option): where names differ, both say so
FIELDS = [
    *((SYNTHESIS, name, OF_CONFIG, name, "synthesize", name) for name in ("pairs", "seed", "longest_side")),
    *((SYNTHESIS, name, OF_SYNTHESIS, name, "synthesize", name) for name in ("find", "place", "paraphrase")),
    (SYNTHESIS, "description", OF_SYNTHESIS, "description", "synthesize", "hidden"),
    (SYNTHESIS, "operation.inverse", OF_SYNTHESIS, "inverse", "synthesize", "inverse"),
    (SYNTHESIS, "smallest", OF_CONFIG, "area", "synthesize", "area"),
    (SYNTHESIS, "largest", OF_CONFIG, "area", "synthesize", "area"),
    *((EDITOR, name, OF_LOADING, name, "synthesize", name) for name in ("dtype", "quantize")),
    (CAPTIONS, "seed", ("rethink.pairs.from_captions.caption_job", "CaptionJob"), "seed", "caption-edits", "seed"),
    (PROMPTS, "seed", ("rethink.pairs.from_captions.job", "PromptToPromptJob"), "seed", "p2p", "seed"),
    *((PROMPTS, name, OF_DRAWING, name, "p2p", name) for name in ("steps", "sampler")),
    *((PROMPTS, f"{end}_sharing", OF_DRAWING, "threshold", "p2p", "threshold") for end in ("lowest", "highest")),
    *((PROMPTS, f"{end}_guidance", OF_DRAWING, "guidance", "p2p", "guidance") for end in ("lowest", "highest")),
    *(
        (PROMPTS, name, OF_SELECTION, name, "p2p", name)
        for name in ("candidates", "best", "batch", "image", "direction")
    ),
    (PROMPTS, "caption_fit", OF_SELECTION, "caption", "p2p", "caption"),
    *(
        (FILTER, name, THRESHOLDS, name, "filter", name)
        for name in [
            "image",
            "direction",
            "caption",
            "critic",
            "best",
            "changed",
            "outside",
            "shift",
            "smallest_region",
            "largest_region",
        ]
    ),
    *(
        (SCORE, name, OF_SCORE, name, "score", name)
        for name in ("passes", "seed", "source_caption", "edited_caption", "further")
    ),
    *(
        (CURVE, name, OF_CURVE, name, "curve", name)
        for name in ("image_guidance", "text_guidance", "steps", "seed", "strength")
    ),
    *((FILTER, name, THRESHOLDS, name, "filter", name) for name in ("border", "side", "aspect", "duplicates")),
]


# What of a node is said otherwise on the command line: input → options. All else stands in FIELDS.
ELSEWHERE = {
    EDITOR: {"editor": "editor", "offload": "offload"},
    LORA: {"editor": "sd", "lora": "lora", "strength": "lora"},
    SYNTHESIS: {
        "operation": "operations set",
        "operation.editor": "editor lora dtype offload quantize",
        "pictures": "images",
        "pictures.folder": "images",
        "pictures.masks": "masks",
        "image": "images",
        "mask": "masks",
        "boxes": "boxes",
        "dataset": "store",
        "thinker": "thinker",
        "templates": "templates",
    },
    CAPTIONS: {"thinker": "thinker", "captions": "captions", "dataset": "output", "examples": "triples"},
    PROMPTS: {
        "editor": "sd",
        "caption": "triples",
        "instruction": "triples",
        "edited_caption": "triples",
        "method": "method",
        "method.weights": "weights",
        "clip": "clip",
        "dataset": "store",
        "drop_early": "looks",
    },
    SCORE: {name: name for name in ("source", "edited", "instruction", "clip", "judge", "mask")},
    CURVE: {
        "editor": "editors lora dtype offload quantize",
        **dict.fromkeys(("editor_2", "editor_3", "editor_4"), "editors"),
        **dict.fromkeys(("image", "instruction", "source_caption", "edited_caption"), "items"),
        "clip": "clip",
    },
    FILTER: {"pairs": "store", "clip": "clip", "thinker": "thinker"},
    "RethinkSaveEditDataset": {"pairs": "store", "name": "folder", "format": "format", "format.replace": "replace"},
    "RethinkLoadEditDataset": {
        "format": "format",
        "format.dataset": "folder",
        "format.into": "store",
        "format.instruction": "instruction",
    },
}


COMMANDS = {
    EDITOR: "synthesize",
    LORA: "p2p",
    SYNTHESIS: "synthesize",
    CAPTIONS: "caption-edits",
    PROMPTS: "p2p",
    FILTER: "filter",
    SCORE: "score",
    CURVE: "curve",
    "RethinkSaveEditDataset": "export",
    "RethinkLoadEditDataset": "import",
}


@pytest.fixture
def inputs(classes, models, results):
    """inputs(node) → {name: input}, those of choices as “choice.input”."""

    def of(node):
        found = {}
        for each in classes[node].define_schema().inputs:
            found[each.id] = each
            for option in getattr(each, "options", None) or ():
                found |= {f"{each.id}.{inner.id}": inner for inner in getattr(option, "inputs", ())}
        return found

    return of


@pytest.fixture
def options(part):
    """options(command) → {name: argparse's action}."""
    parser = part("rethink.cli.main").make_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, _SubParsersAction))

    def of(command):
        found = {}
        for action in commands.choices[command]._actions:
            names = [name.removeprefix("--").replace("-", "_") for name in action.option_strings] or [action.dest]
            found |= dict.fromkeys(names, action)
        return found

    return of


@pytest.mark.parametrize("node", [EDITOR, SYNTHESIS, CAPTIONS, PROMPTS, FILTER, SCORE, CURVE])
def test_limits_defaults_and_help_are_the_fields_own(part, inputs, options, node):
    ends = {"smallest": 0, "lowest": 0, "largest": 1, "highest": 1}
    widgets, known = inputs(node), options(COMMANDS[node])
    for input, (module, job), field, name in ((i, j, f, n) for owner, i, j, f, _, n in FIELDS if owner == node):
        found = part("rethink.options").option_of(getattr(part(module), job), field)
        shown, option = widgets[input].described, known[name]
        assert shown["tooltip"].startswith(found.help) and option.help.replace("%%", "%").startswith(found.help)
        assert option.default == found.default, name
        end = ends.get(input.partition("_")[0])
        default = found.default[end] if isinstance(found.default, tuple) else found.default
        assert shown["default"] == default and bool(shown.get("advanced")) == found.advanced, input
        assert (shown.get("min"), shown.get("max")) == (found.low, found.high), input
        if found.choices:
            assert tuple(shown["options"]) == found.choices == tuple(option.choices)


@pytest.mark.parametrize("node", COMMANDS)
def test_a_command_can_do_what_the_node_can(inputs, options, node):
    by_name = {input: (name,) for owner, input, _, _, _, name in FIELDS if owner == node}
    by_name |= {input: tuple(names.split()) for input, names in ELSEWHERE[node].items()}
    own = {name for name in inputs(node) if not name.startswith("operation.") or name in by_name}  # the rest is --set's
    assert own == by_name.keys()
    known = options(COMMANDS[node])
    assert not [name for names in by_name.values() for name in names if name not in known]
