"""ComfyUI's own Qwen3-VL, as small as it goes and with random weights, through the thinker: two pictures, one answer."""

from tests.comfyui.native_graphs import node, noise, run


def test_comfyuis_own_model_answers_about_two_pictures(server):
    backend = {"backend": "ComfyUI model", "backend.clip": ["clip", 0]}
    graph = {"clip": node("TestVisionModel"), "thinker": node("RethinkLoadThinker", **backend)}
    graph |= {"source": noise(1, 64, 64), "edited": noise(2, 96, 64), "dark": noise(3, 64, 32)}
    questions = {"one": {}, "same": {}, "other": {"edited": ["dark", 0]}}
    questions |= {f"drawn_{seed}": {"seed": seed, "temperature": 1.0} for seed in (1, 2)}
    usual = {"thinker": ["thinker", 0], "source": ["source", 0], "edited": ["edited", 0], "seed": 1, "temperature": 0.0}
    for number, (name, question) in enumerate(questions.items()):
        graph[name] = node("TestAsk", **usual | question, number=number)
    found = run(server, graph)
    one, same, other, first, second = (found[name]["answer"] for name in questions)
    assert one == same != other and first != second
