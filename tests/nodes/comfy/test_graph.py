"""What the Think Loop builds on is ComfyUI's own."""

from comfy_execution import graph_utils


def test_the_names_are_those_of_comfyui(part):
    graph = part("nodes.comfy.graph")
    assert graph.GraphBuilder is graph_utils.GraphBuilder and graph.is_link is graph_utils.is_link
    assert graph.is_link(["1", 0]) and not graph.is_link("1")
