"""ComfyUI's own models as editors, in a real ComfyUI: every family, miniature, against ComfyUI's own nodes."""

import io
import json
import time
import uuid
from pathlib import Path

import pytest
from PIL import Image

from tests.comfyui.native_graphs import (
    AREA,
    CORE,
    SIDE,
    STEPS,
    VAE_OF,
    core_kontext,
    core_qwen,
    difference,
    diffusion_model,
    edit,
    editor,
    encode_text_with_image,
    encode_text_with_images,
    error_of,
    loaders,
    native,
    node,
    noise,
    run,
    together,
)
from tests.support.hosts import PACK_ROOT


def test_an_edit_is_what_core_nodes_make_bit_for_bit(server, family):
    graph = {**native(family), "image": noise(), "edit": edit(), **CORE[family]()}
    found = run(server, {**graph, "same": difference("edit", "core")})["same"]
    assert found["difference"] == [0.0] and found["shapes"][0] == [1, SIDE, SIDE, 3]
    assert 0.01 < found["spread"][0] < 0.45  # neither flat nor all black and white


def test_a_model_of_2511_whose_file_does_not_say_so_is_named(server):
    graph = {**native("qwen_image_edit", kind="Qwen-Image-Edit-Plus 2511")}
    graph |= {**editor("qwen_image_edit", "_auto", kind="auto")}
    graph |= {"image": noise(), "edit": edit(), "auto": edit(editor=["editor_auto", 0])}
    graph |= {**core_qwen(encode_text_with_images, "index_timestep_zero"), "same": difference("edit", "core")}
    found = run(server, {**graph, "seen": difference("edit", "auto")})
    assert found["same"]["difference"] == [0.0] and found["seen"]["difference"][0] > 1e-4


@pytest.mark.parametrize("sampler", ["dpmpp_2m_sde", "euler_ancestral"])
def test_samplers_with_fresh_noise_draw_it_as_core_does(server, sampler):
    graph = {**native("flux_kontext"), "image": noise(), "edit": edit(sampler=sampler)}
    graph |= editor("flux_kontext", scheduler="simple", sampler=sampler) | core_kontext(sampler)
    assert run(server, {**graph, "same": difference("edit", "core")})["same"]["difference"] == [0.0]


def test_the_sampler_and_scheduler_of_the_editor_node_are_used(server):
    graph = {**native("flux_kontext", sampler="heun", scheduler="simple"), "image": noise()}
    graph |= {"edit": edit(), **core_kontext("heun"), "same": difference("edit", "core")}
    assert run(server, graph)["same"]["difference"] == [0.0]


def test_the_users_own_sampling_patch_stays(server):
    graph = {**loaders("qwen_image_edit"), "image": noise(), "edit": edit(), **core_qwen(encode_text_with_image)}
    del graph["tuned"]
    graph["shifted"]["inputs"]["shift"] = 2.0
    graph["samples"]["inputs"]["model"] = ["shifted", 0]
    graph |= {**editor("qwen_image_edit", model=["shifted", 0]), "same": difference("edit", "core")}
    assert run(server, graph)["same"]["difference"] == [0.0]


def test_rows_of_a_batch_do_not_depend_on_each_other(server, family):
    graph = {**native(family), "images": noise(batch=3, width=100, height=70)}
    graph["batch"] = edit(image=["images", 0], variations=2, seed=5)
    graph["image"] = node("TestRow", image=["images", 0], index=2)
    graph["alone"] = edit(seed=6)
    graph["last"] = node("TestRow", image=["batch", 0], index=5)
    graph["other_seed"] = node("TestRow", image=["batch", 0], index=4)
    graph |= {"same": difference("last", "alone"), "changed": difference("last", "other_seed")}
    found = run(server, graph)
    assert found["same"]["difference"] == [0.0] and found["same"]["shapes"][0] == [1, 70, 100, 3]
    assert found["changed"]["difference"][0] > 0.01


def test_outside_the_mask_the_source_comes_back_bit_for_bit(server, family):
    graph = {**native(family), "image": noise(width=100, height=70)}
    graph["mask"] = node("TestLeftHalf", image=["image", 0])
    graph["edit"] = edit(mask=["mask", 0])
    graph |= {"kept": difference("edit", "image", outside=["mask", 0]), "changed": difference("edit", "image")}
    found = run(server, graph)
    assert found["kept"]["difference"] == [0.0] and found["changed"]["difference"][0] > 0.01


def test_three_pictures_are_references_in_their_order(server):
    graph = {**native("flux_kontext"), "image": noise(1), "second": noise(2), "third": noise(3)}
    graph |= {"others": together("second", "third"), "edit": edit(references=["others", 0]), "alone": edit()}
    for index, name in enumerate(("first_other", "last_other")):  # from the batch: in memory it lies otherwise
        graph[name] = node("TestRow", image=["others", 0], index=index)
    graph |= core_kontext(pictures=("image", "first_other", "last_other"))
    found = run(server, {**graph, "same": difference("edit", "core"), "seen": difference("edit", "alone")})
    assert found["same"]["difference"] == [0.0] and found["seen"]["difference"][0] > 1e-4


@pytest.mark.parametrize("several", ["qwen_image_edit_plus", "flux2", "flux2_klein", "omnigen2"])
def test_further_pictures_change_the_edit(server, several):
    graph = {**native(several), "image": noise(1), "second": noise(2), "third": noise(3)}
    graph |= {"others": together("second", "third"), "edit": edit(references=["others", 0])}
    graph |= {"turned": together("third", "second"), "changed": edit(references=["turned", 0]), "alone": edit()}
    graph |= {"order": difference("edit", "changed"), "seen": difference("edit", "alone")}
    found = run(server, graph)
    assert found["order"]["difference"][0] > 1e-4 and found["seen"]["difference"][0] > 1e-4


def test_forty_pictures_are_too_many(server, family):
    graph = {**native(family), "image": noise(), "others": noise(batch=40)}
    graph |= {"edit": edit(references=["others", 0]), "end": difference("edit", "edit")}
    message = error_of(server.run(graph)).strip()
    assert message.startswith("references: got 40 images, but ") and "\n" not in message


@pytest.mark.parametrize(("kind", "texts"), [("flux_kontext", 3), ("instruct_pix2pix", 4), ("qwen_image_edit", 4)])
def test_nothing_is_encoded_twice(server, kind, texts):
    """Three instructions with two seeds each, then one of them again: one encoding a text, one of the source."""
    graph = {**loaders(kind), "image": noise(), "counted": node("TestCounted", clip=["clip", 0], vae=["vae", 0])}
    graph |= editor(kind, clip=["counted", 0], vae=["counted", 1])
    graph["text"] = node("TestInstructions", text=f"one {uuid.uuid4()}\ntwo\nthree")
    graph["first_edits"] = edit(instruction=["text", 0], variations=2)
    graph["edit"] = node("TestAfter", image=["image", 0], wait_for=["first_edits", 0])
    graph["again"] = edit(image=["edit", 0], instruction="two", seed=9)
    graph["counts"] = node("TestCounts", after=["again", 0], clip=["counted", 0], vae=["counted", 1])
    assert run(server, graph)["counts"]["counts"] == [texts, 1]


# Wrong wirings


def wired_wrong(server, model="flux_kontext", clip=None, vae=None, **inputs):
    """What the editor node says to a model with the text encoder and the VAE of these families."""
    graph = {**native(model, **inputs), "image": noise(), "edit": edit()}
    graph["clip"] = node("TestMiniatureTextEncoder", family=clip or model)
    graph["vae"] = node("VAELoader", vae_name=VAE_OF[vae or model])
    message = error_of(server.run({**graph, "end": difference("edit", "edit")})).strip()
    assert "\n" not in message
    return message


def test_a_text_to_image_model_is_named(server):
    graph = {**native("flux_kontext"), "image": noise(), "edit": edit()}
    graph |= {"model": diffusion_model("text_to_image"), "end": difference("edit", "edit")}
    message = error_of(server.run(graph))
    assert message.startswith("model: found a SD15 model with 4 input channels") and "FLUX.1 Kontext" in message


def test_the_vae_of_another_model_is_refused(server, family):
    other = "instruct_pix2pix" if family.startswith("flux2") else "flux2"
    assert wired_wrong(server, family, vae=other).startswith("vae: makes latents of ")


def test_a_vae_of_films_is_refused(server):
    message = wired_wrong(server, "flux_kontext", vae="qwen_image_edit")
    assert message.startswith("vae: makes latents of 16 channels over time, but FLUX.1 Kontext takes 16 channels;")


@pytest.mark.parametrize("other", ["instruct_pix2pix", "qwen_image_edit", "flux2", "omnigen2"])
def test_the_text_encoder_of_another_model_is_refused(server, other):
    message = wired_wrong(server, "flux_kontext", clip=other)
    assert message.startswith("clip: found ") and "DualCLIPLoader with type flux" in message


def test_a_text_encoder_of_another_size_is_refused(server):
    message = wired_wrong(server, "flux2_klein", clip="flux2_klein_9b")
    assert message.startswith("clip: its embeddings are 192 wide, but this FLUX.2 Klein takes 96")


def test_a_longcat_text_encoder_is_not_qwens(server):
    message = wired_wrong(server, "qwen_image_edit_plus", clip="longcat_image_edit")
    assert message.startswith("clip: found LongCatImage")


def test_a_kind_that_the_model_is_not_is_refused(server):
    message = wired_wrong(server, "flux2", kind="OmniGen2")
    assert message == "kind: is OmniGen2, but the model is FLUX.2 dev; choose that, or auto."


# Cancel and memory


def test_cancel_ends_a_long_run_and_the_next_one_works(server):
    graph = {
        **native("flux_kontext"),
        "image": noise(),
        "edit": edit(steps=900, variations=8),
    }
    graph["end"] = difference("edit", "edit")
    _, answer = server.post("/prompt", {"prompt": graph})
    while not server.json("/queue")["queue_running"]:
        time.sleep(0.05)
    time.sleep(1.5)
    entry = server.interrupt(answer["prompt_id"])
    assert any(name == "execution_interrupted" for name, _ in entry["status"]["messages"])
    graph["edit"] = edit(seed=12)
    run(server, graph)


@pytest.mark.parametrize("kind", ["flux_kontext", "qwen_image_edit_plus"])
def test_models_may_throw_each_other_out_during_an_edit(server, kind):
    graph = {**native(kind), "image": noise(), "easy": edit(variations=2)}
    graph["crowded"] = node("TestCrowded", clip=["clip", 0], vae=["vae", 0])
    graph |= editor(kind, "_crowded", clip=["crowded", 0], vae=["crowded", 1])
    graph |= {"hard": edit(variations=2, editor=["editor_crowded", 0]), "same": difference("easy", "hard")}
    assert run(server, graph)["same"]["difference"] == [0.0]


def test_two_editors_alternate_without_a_leak(server):
    """Thirty prompts, after each of which the models are thrown out; what is loaded once is there after ten."""
    graph = {"image": noise()}
    for name, kind in (("_a", "flux_kontext"), ("_b", "instruct_pix2pix")):
        graph |= {**loaders(kind, name), **editor(kind, name, name)}
    sizes = []
    for prompt in range(30):
        graph["edit"] = edit(editor=["editor_" + "ab"[prompt % 2], 0], seed=prompt, instruction=f"make it {prompt}")
        found = run(server, {**graph, "end": node("TestPressure", image=["edit", 0])})
        assert found["end"]["thrown_out"][0] >= 3
        sizes.append(resident(server.pid))
    assert sizes[-1] - sizes[9] < 24 * 2**20, [size >> 20 for size in sizes]


def resident(pid):
    """Bytes of memory that a process holds."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("workflow", "kind"),
    [("omnigen2", "omnigen2"), ("kontext", "flux_kontext"), ("qwen_image_edit_plus", "qwen_image_edit_plus")],
)
def test_the_shipped_workflows_run_with_miniatures_in_place_of_their_models(server, workflow, kind):
    folder = server.log.parent / "input"
    Image.new("RGB", (96, 64), "teal").save(folder / "example.png")
    graph = json.loads((PACK_ROOT / "workflows" / "api" / f"native_{workflow}.json").read_text(encoding="utf-8"))
    keys = {entry["class_type"]: key for key, entry in graph.items()}
    small = loaders(kind)
    graph[keys["UNETLoader"]], graph[keys["VAELoader"]] = small["model"], small["vae"]
    graph[keys.get("CLIPLoader") or keys["DualCLIPLoader"]] = small["clip"]
    graph[keys["RethinkEditorFromModel"]]["inputs"]["megapixels"] = AREA
    graph[keys["RethinkSampleEdit"]]["inputs"]["steps"] = STEPS
    (saved,) = run(server, graph)[keys["SaveImage"]]["images"]
    assert Image.open(io.BytesIO(server.view(saved))).size == (96, 64)
