"""LoRAs on ComfyUI's own models, in a real ComfyUI: every family, miniature, against ComfyUI's own loader."""

import re
import uuid

import pytest

from tests.comfyui.native_graphs import (
    difference,
    diffusion_model,
    edit,
    editor,
    error_of,
    loaders,
    native,
    node,
    noise,
    run,
    together,
)


@pytest.fixture
def write_lora(server):
    """write_lora(family, fault) → the name of a LoRA for its model in the server's folder."""
    folder = server.log.parent / "models" / "loras"
    names = []

    def write(family, fault=""):
        names.append(uuid.uuid4().hex)
        lora = node("TestWriteLora", model=["model", 0], file=names[-1], fault=fault)
        run(server, {**loaders(family), "lora": lora})
        return f"{names[-1]}.safetensors"

    yield write
    for name in names:
        (folder / f"{name}.safetensors").unlink()


def with_lora(name, strength=1.0, editor="editor"):
    return node("RethinkEditLoraLoader", editor=[editor, 0], lora=name, strength=strength)


def report(adapted="adapted"):
    return node("PreviewAny", source=[adapted, 1])


def test_a_lora_does_what_cores_loader_does_and_leaves_the_editor_as_it_was(server, family, write_lora):
    name = write_lora(family)
    weights = {"lora_name": name, "strength_model": 0.5, "strength_clip": 0.5}
    graph = {**native(family), "image": noise(), "before": edit()}
    graph |= {"adapted": with_lora(name, 0.5), "after": edit(editor=["adapted", 0]), "report": report()}
    graph |= {"no_lora": with_lora(name, 0.0), "off": edit(editor=["no_lora", 0])}
    graph |= {"later": node("TestAfter", image=["image", 0], wait_for=["after", 0]), "again": edit(image=["later", 0])}
    graph |= {"loaded": node("LoraLoader", model=["model", 0], clip=["clip", 0], **weights)}
    graph |= editor(family, "_core", model=["loaded", 0], clip=["loaded", 1])
    graph |= {"core": edit(editor=["editor_core", 0])}
    graph |= {f"before_{other}": difference("before", other) for other in ("after", "off", "again")}
    graph |= {"after_core": difference("after", "core")}
    graph["shared"] = node("TestShared", a=["adapted", 0], b=["no_lora", 0])
    found = run(server, graph)
    assert found["before_after"]["difference"][0] > 1e-4 and found["after_core"]["difference"] == [0.0]
    assert found["before_off"]["difference"] == found["before_again"]["difference"] == [0.0]
    assert found["shared"]["shared"] == [True]
    assert re.fullmatch(r"\w+: (\d+) of \1 layers fit\.", found["report"]["text"][0])


def test_loras_stack_and_a_negative_one_takes_away_what_a_positive_one_adds(server, write_lora):
    name = write_lora("flux_kontext")
    graph = {**native("flux_kontext"), "image": noise(), "plain": edit()}
    graph |= {"more": with_lora(name, 0.5), "less": with_lora(name, -0.5), "both": with_lora(name, -0.5, "more")}
    for name in ("more", "less", "both"):
        graph |= {f"edit_{name}": edit(editor=[name, 0]), f"seen_{name}": difference("plain", f"edit_{name}")}
    found = run(server, {**graph, "turned": difference("edit_more", "edit_less")})
    assert found["seen_both"]["difference"][0] < 1e-5  # but for the rounding of the sum
    assert min(found[of]["difference"][0] for of in ("seen_more", "seen_less", "turned")) > 1e-3


@pytest.mark.parametrize("kind", ["LoKr", "LoHa"])
def test_other_kinds_do_what_cores_loader_does(server, write_lora, kind):
    name = write_lora("flux_kontext", kind)
    graph = {**native("flux_kontext"), "image": noise(), "before": edit(), "report": report()}
    graph |= {"adapted": with_lora(name, 0.7), "after": edit(editor=["adapted", 0])}
    graph["loaded"] = node("LoraLoaderModelOnly", model=["model", 0], lora_name=name, strength_model=0.7)
    graph |= {**editor("flux_kontext", "_core", model=["loaded", 0]), "core": edit(editor=["editor_core", 0])}
    graph |= {"changed": difference("before", "after"), "same": difference("after", "core")}
    found = run(server, graph)
    assert found["same"]["difference"] == [0.0] and found["changed"]["difference"][0] > 1e-4
    assert re.fullmatch(r"\w+: (\d+) of \1 layers fit\.", found["report"]["text"][0])


def test_an_alpha_in_the_metadata_acts_like_one_beside_the_factors(server, write_lora):
    graph = {**native("qwen_image_edit_plus"), "image": noise(), "before": edit()}
    for form in ("alpha", "metadata"):
        graph[form] = with_lora(write_lora("qwen_image_edit_plus", form))
        graph[f"edit_{form}"] = edit(editor=[form, 0])
    graph["plain"] = with_lora(write_lora("qwen_image_edit_plus"))
    graph |= {"edit_plain": edit(editor=["plain", 0]), "same": difference("edit_alpha", "edit_metadata")}
    found = run(server, {**graph, "stronger": difference("edit_plain", "edit_metadata")})
    assert found["same"]["difference"] == [0.0] and found["stronger"]["difference"][0] > 1e-4


@pytest.mark.parametrize(("layout", "layers"), [("kohya", 23), ("diffusers", 3)])
def test_other_trainers_names_are_known(server, write_lora, layout, layers):
    name = write_lora("flux_kontext", layout)
    graph = {**native("flux_kontext"), "image": noise(), "before": edit(), "report": report()}
    graph |= {"adapted": with_lora(name, -1.0), "after": edit(editor=["adapted", 0])}
    found = run(server, {**graph, "changed": difference("before", "after")})
    assert found["report"]["text"][0].endswith(f": {layers} of {layers} layers fit.")
    assert found["changed"]["difference"][0] > 1e-4


@pytest.mark.parametrize(("file", "weight_dtype"), [("flux_kontext_nvfp4", "default"), ("flux_kontext", "fp8_e4m3fn")])
def test_quantized_weights_take_a_lora_as_with_cores_loader(server, write_lora, file, weight_dtype):
    name = write_lora("flux_kontext")
    graph = {**native("flux_kontext"), "image": noise(), "before": edit()}
    graph |= {"model": diffusion_model(file, weight_dtype), "report": report()}
    graph |= {"adapted": with_lora(name), "after": edit(editor=["adapted", 0])}
    graph["loaded"] = node("LoraLoaderModelOnly", model=["model", 0], lora_name=name, strength_model=1.0)
    graph |= {**editor("flux_kontext", "_core", model=["loaded", 0])}
    graph |= {"core": edit(editor=["editor_core", 0]), "same": difference("after", "core")}
    found = run(server, {**graph, "changed": difference("before", "after")})
    assert found["same"]["difference"] == [0.0] and found["changed"]["difference"][0] > 1e-4
    assert found["report"]["text"][0].endswith(": 23 of 23 layers fit.")


def test_what_does_not_fit_is_said(server, write_lora):
    graph = {**native("flux_kontext"), "report": report()}
    graph["adapted"] = with_lora(write_lora("flux_kontext", "extra"))
    found = run(server, graph)["report"]["text"][0]
    assert found.endswith(": 23 of 24 layers fit.\n  not used: other_model.layer")


def refused(server, name, family="flux_kontext"):
    graph = {**native(family), "adapted": with_lora(name), "report": report()}
    message = error_of(server.run(graph)).strip()
    assert message.startswith("lora: ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("nan", "has NaN or infinite values in"),
        (
            "rank",
            "has two factors that do not belong together (their ranks); it was made for another model, or it is damaged",
        ),
        ("size", "made for another model, or it is damaged"),
        ("stranger", "it was made for another model (this LoRA has, for example, other_model.diffusion_model."),
        ("no up", "has two factors that do not belong together"),
        ("no down", "has two factors that do not belong together"),
        ("two alphas", "has an alpha of 2 numbers instead of one"),
        ("lengths", "a DoRA as PEFT saves it, which ComfyUI's loader reads only in part; use it with Load Editor"),
        ("Tucker", "a LoKr in Tucker form, which ComfyUI's loader reads only in part"),
        ("empty", "is empty"),
    ],
)
def test_a_bad_lora_is_refused_as_a_whole(server, write_lora, fault, sentence):
    assert sentence in refused(server, write_lora("flux_kontext", fault))


@pytest.mark.parametrize(
    ("made_for", "put_on"), [("omnigen2", "flux_kontext"), ("flux_kontext", "qwen_image_edit_plus")]
)
def test_a_lora_of_another_family_is_refused(server, write_lora, made_for, put_on):
    assert "it was made for another model" in refused(server, write_lora(made_for), put_on)


def test_models_that_were_thrown_out_come_back(server, write_lora):
    graph = {**native("flux_kontext"), "image": noise(), "first": edit(seed=11)}
    graph |= {"adapted": with_lora(write_lora("flux_kontext")), "changed": edit(seed=11, editor=["adapted", 0])}
    graph["last"] = together("first", "changed")
    graph["pressure"] = node("TestPressure", image=["last", 0])
    graph["copy"] = node("TestAfter", image=["image", 0], wait_for=["pressure", 0])
    graph |= {"second": edit(seed=11, image=["copy", 0]), "same": difference("first", "second")}
    graph |= {"expand_iteration": edit(seed=11, image=["copy", 0], editor=["adapted", 0])}
    found = run(server, {**graph, "same_lora": difference("changed", "expand_iteration")})
    assert found["pressure"]["thrown_out"][0] >= 3  # MODEL, CLIP and VAE
    assert found["same"]["difference"] == found["same_lora"]["difference"] == [0.0]
