"""The rules that every node keeps: ids, categories, words, defaults, limits, help."""

import inspect

import pytest

from tests.standin.executor import DYNAMIC
from tests.support.descriptions import inputs_of
from tests.support.hosts import PACK_ROOT

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


@pytest.fixture
def described(classes, models):
    return {i: cls.describe() for i, cls in classes.items() if i.startswith("Rethink")}


def all_inputs_of(node):
    """Those of every choice too."""
    found = dict(inputs_of(node))
    for name, (io_type, options) in inputs_of(node).items():
        if io_type == DYNAMIC:
            for option in options["options"]:
                chosen = inputs_of({"input": option["inputs"]})
                found |= {f"{name}={option['key']}.{inner}": described for inner, described in chosen.items()}
    return found


def test_the_pack_has_its_nodes(classes):
    assert sorted(node_id for node_id in classes if node_id.startswith("Rethink")) == [
        "RethinkCaptionToEdit",
        "RethinkCompareEditors",
        "RethinkCompareRuns",
        "RethinkCritiqueEdit",
        "RethinkEditChain",
        "RethinkEditLoraLoader",
        "RethinkEditorFromModel",
        "RethinkFilterEditPairs",
        "RethinkInverseEditSynthesizer",
        "RethinkKeepUnchangedPixels",
        "RethinkLoadEditDataset",
        "RethinkLoadEditor",
        "RethinkLoadEditorFromServer",
        "RethinkLoadInstructedImages",
        "RethinkLoadThinker",
        "RethinkLoadTrajectory",
        "RethinkPreviewPairs",
        "RethinkPromptToPromptPairs",
        "RethinkRunBenchmark",
        "RethinkSampleEdit",
        "RethinkSaveEditDataset",
        "RethinkSaveTrajectory",
        "RethinkScene",
        "RethinkScoreEdit",
        "RethinkThinkLoopClose",
        "RethinkThinkLoopOpen",
        "RethinkThinkWhileEdit",
        "RethinkTradeOffCurve",
        "RethinkTrainEditLora",
        "RethinkTrainThinker",
        "RethinkTrajectoriesToDataset",
        "RethinkTrajectoriesToPairs",
        "RethinkTrajectoryViewer",
    ]


def test_nodes_are_named_and_explained(described):
    for node in described.values():
        assert node["category"].startswith("Rethink/")
        assert node["display_name"] and node["description"].endswith(".")
        assert all(tip.endswith(".") for tip in node["output_tooltips"])


def test_every_input_has_a_tooltip_and_every_widget_a_default_within_its_limits(described):
    for node in described.values():
        for name, (io_type, options) in all_inputs_of(node).items():
            assert options["tooltip"].rstrip(")").endswith("."), (node["name"], name)
            if io_type not in WIDGETS:
                continue
            if io_type == "COMBO" and not options["options"]:
                continue  # nothing of that kind lies in the folders
            default = options["default"]
            assert options.get("min", default) <= default <= options.get("max", default)
            if io_type in ("INT", "FLOAT"):
                assert "min" in options and "max" in options
            if io_type == "COMBO":
                assert default in options["options"]


def test_no_socket_is_forced(described):
    """The front end takes a saved node with a forced socket and one widget of a choice more for one of long ago, and
    drops a value of it."""
    assert not [
        name
        for node in described.values()
        for name, (_, options) in all_inputs_of(node).items()
        if "forceInput" in options
    ]


def test_execute_takes_exactly_the_inputs(described, classes):
    for node_id, node in described.items():
        parameters = inspect.signature(classes[node_id].execute).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            assert set(parameters) - {"carried"} == set(inputs_of(node))  # that one is for copies of a node


@pytest.mark.parametrize("node_id", ["RethinkSampleEdit", "RethinkEditChain", "RethinkThinkWhileEdit"])
def test_the_widgets_of_sampling_are_the_fields_of_settings(described, part, node_id):
    settings = part("rethink.editors.settings").Settings().as_inputs()
    inputs = inputs_of(described[node_id])
    assert {name: inputs[name][1]["default"] for name in settings} == settings


def test_every_choice_that_brings_inputs_of_its_own_is_explained(described):
    pages = "".join(page.read_text(encoding="utf-8") for page in (PACK_ROOT / "web" / "docs").glob("*.md"))
    for node_id, node in described.items():
        choices = [options["options"] for io_type, options in inputs_of(node).values() if io_type == DYNAMIC]
        unnamed = [f"*{option['key']}*" for each in choices for option in each if f"*{option['key']}*" not in pages]
        assert not unnamed, f"no help page says what {', '.join(unnamed)} is, a choice of {node_id}"


def test_every_node_has_a_help_page_that_names_every_input(described):
    for node_id, node in described.items():
        page = (PACK_ROOT / "web" / "docs" / f"{node_id}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {node['display_name']}\n")
        words = {
            name: options.get("display_name", name.rpartition(".")[2])
            for name, (_, options) in all_inputs_of(node).items()
        }
        unnamed = [f"{name} as **{word}**" for name, word in words.items() if f"**{word}**" not in page]
        assert not unnamed, f"web/docs/{node_id}.md does not name {', '.join(unnamed)}"


@pytest.mark.parametrize(
    "words",
    [
        "kontext edit",
        "image edit",
        "inpaint by instruction",
        "variations",
        "load vlm",
        "vision model",
        "training pairs",
        "dataset for lora",
        "color match",
        "refine",
        "critic",
        "judge",
        "reflection",
    ],
)
def test_a_search_for_what_people_call_it_finds_the_pack(described, words):
    assert any(words in alias.lower() for node in described.values() for alias in node["search_aliases"])


def rows(page, heading):
    """The cells of the table under a heading of a help page, row by row."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ][2:]


def test_the_help_of_load_editor_says_of_every_family_what_its_row_says(part):
    page = (PACK_ROOT / "web" / "docs" / "RethinkLoadEditor.md").read_text(encoding="utf-8")
    expected = []
    for family in part("rethink.editors.families").FAMILIES:
        for number, defaults in enumerate([family.defaults, *(variant.defaults for variant in family.variants)]):
            image = f"{defaults.image_guidance:g}" if family.guides_by_image else ""
            numbers = [str(defaults.steps), f"{defaults.text_guidance:g}", image, str(family.references)]
            expected.append((family.title, "the same" if number else ", ".join(family.pipelines), *numbers))
    said = [
        (title.partition(" (")[0], pipelines.partition(", with")[0], *cells[:4])
        for title, pipelines, *cells in rows(page, "Families")
    ]
    wrong = [*({*expected} - {*said}), *({*said} - {*expected})]
    assert sorted(said) == sorted(expected), f"web/docs/RethinkLoadEditor.md, table of families: {wrong}"


def test_the_help_of_load_editor_has_the_table_of_memory():
    pytest.importorskip("diffusers")
    from benchmarks.memory import table

    page = (PACK_ROOT / "web" / "docs" / "RethinkLoadEditor.md").read_text(encoding="utf-8")
    assert table()[0] in page


def test_a_node_that_checks_an_input_itself_leaves_its_choices_to_comfyui(classes):
    """ComfyUI passes them to the check, asked for or not, and no longer looks at those asked for by position."""
    for node_id, cls in classes.items():
        if node_id.startswith("Rethink") and (check := getattr(cls, "validate_inputs", None)):
            choices = {name for name, (kind, _) in cls.describe()["input"]["required"].items() if kind == DYNAMIC}
            asked = inspect.getfullargspec(check)
            assert choices <= set(asked.kwonlyargs) and not asked.varkw, node_id
