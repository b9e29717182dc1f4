"""The rules that every node keeps: ids, categories, words, defaults, limits, help."""

import inspect

import pytest

from tests.hosts import PACK_ROOT
from tests.standin.executor import DYNAMIC

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


@pytest.fixture
def described(classes, models):
    return {i: cls.describe() for i, cls in classes.items() if i.startswith("Rethink")}


def inputs_of(node):
    return {**node["input"]["required"], **node["input"].get("optional", {})}


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
    assert {name for name in classes if name.startswith("Rethink")} == {
        "RethinkLoadEditor", "RethinkSampleEdit", "RethinkEditChain", "RethinkScene", "RethinkLoadThinker",
        "RethinkCritiqueEdit", "RethinkThinkWhileEdit", "RethinkThinkLoopOpen", "RethinkThinkLoopClose",
        "RethinkTrajectoryViewer", "RethinkSaveTrajectory", "RethinkLoadTrajectory",
    }  # fmt: skip


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


def test_execute_takes_exactly_the_inputs(described, classes):
    for node_id, node in described.items():
        parameters = inspect.signature(classes[node_id].execute).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            assert set(parameters) - {"carried"} == set(inputs_of(node))  # that one is for copies of a node


@pytest.mark.parametrize("node_id", ["RethinkSampleEdit", "RethinkEditChain", "RethinkThinkWhileEdit"])
def test_the_widgets_of_sampling_are_the_fields_of_settings(described, part, node_id):
    settings = vars(part("rethink.editors.protocol").Settings())
    inputs = inputs_of(described[node_id])
    assert {name: inputs[name][1]["default"] for name in settings} == settings


def test_every_node_has_a_help_page_that_names_every_input(described):
    for node_id, node in described.items():
        page = (PACK_ROOT / "web" / "docs" / f"{node_id}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {node['display_name']}\n")
        for name, (_, options) in all_inputs_of(node).items():
            assert f"**{options.get('display_name', name.rpartition('.')[2])}**" in page, (node_id, name)
