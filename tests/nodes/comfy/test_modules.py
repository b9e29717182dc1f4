"""ComfyUI's own modules, imported when they are first needed."""

import sys
from types import ModuleType

import pytest


@pytest.fixture
def modules(part):
    return part("nodes.comfy.modules")


def test_a_module_is_found_and_nodes_by_their_short_name(modules, monkeypatch):
    extra = ModuleType("comfy_extras.nodes_test")
    monkeypatch.setitem(sys.modules, "comfy_extras", ModuleType("comfy_extras"))
    monkeypatch.setitem(sys.modules, "comfy_extras.nodes_test", extra)
    assert modules.comfy_extra("test") is extra
    assert modules.comfy_module("comfy.model_management") is sys.modules["comfy.model_management"]


def test_a_host_that_lacks_it_is_said_in_one_sentence(modules, RethinkError):
    with pytest.raises(RethinkError, match=r"^model: .* need a real and recent ComfyUI; this host has no comfy.lora "):
        modules.comfy_module("comfy.lora")
