"""ComfyUI's own models as editors, in a real ComfyUI: every family, miniature, against ComfyUI's own nodes."""

import io
import json
import time
import uuid
from pathlib import Path

import pytest
from PIL import Image

from tests.hosts import PACK_ROOT

SIDE = 128  # of the source: as many pixels as the editors here work on, so that nothing is resized
AREA = SIDE * SIDE / 2**20
STEPS = 2
INSTRUCTION = "make it snow"
KIND = {"qwen_image_edit": "Qwen-Image-Edit"}  # all others are told by their models
FILES = ("flux_kontext", "flux2", "flux2_klein")
VAE_OF = {
    "instruct_pix2pix": "miniature_sd.safetensors", "instruct_pix2pix_xl": "miniature_sd.safetensors",
    "flux_kontext": "miniature_flux.safetensors", "qwen_image_edit_plus": "miniature_qwen.safetensors",
    "qwen_image_edit": "miniature_qwen.safetensors", "flux2": "taef2", "flux2_klein": "taef2",
    "longcat_image_edit": "miniature_flux.safetensors", "omnigen2": "miniature_flux.safetensors",
}  # fmt: skip
FAMILIES = list(VAE_OF)


def node(kind, /, **inputs):
    return {"class_type": kind, "inputs": inputs}


def loaders(family, name=""):
    """The three loaders of a family; `name` tells those of two families apart."""
    file = f"miniature_{family}.safetensors"
    model = node("UNETLoader", unet_name=file, weight_dtype="default") if family in FILES else None
    return {
        f"model{name}": model or node("TestMiniatureModel", family=family),
        f"clip{name}": node("TestMiniatureTextEncoder", family=family),
        f"vae{name}": node("VAELoader", vae_name=VAE_OF[family]),
    }


def editor(family, name="", **inputs):
    wired = {part: [part + name, 0] for part in ("model", "clip", "vae")}
    chosen = {"sampler": "default", "scheduler": "default", "megapixels": AREA, "kind": KIND.get(family, "auto")}
    return {f"editor{name}": node("RethinkEditorFromModel", **{**wired, **chosen, **inputs})}


def noise(seed=1, width=SIDE, height=SIDE, batch=1):
    return node("TestNoise", seed=seed, width=width, height=height, batch=batch)


def edit(**inputs):
    usual = {"editor": ["editor", 0], "image": ["image", 0], "instruction": INSTRUCTION, "seed": 7, "variations": 1}
    return node("RethinkSampleEdit", **{**usual, "steps": STEPS, **inputs})


def difference(a, b, **inputs):
    return node("TestDifference", a=[a, 0], b=[b, 0], **inputs)


def run(server, graph, seconds=120):
    entry = server.run(graph, seconds)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    return entry["outputs"]


def error_of(entry):
    return next(data["exception_message"] for name, data in entry["status"]["messages"] if name == "execution_error")


# The same edit by ComfyUI's own nodes


def read_plainly(text):
    return node("CLIPTextEncode", clip=["clip", 0], text=text)


def read_looking(text):
    return node("TextEncodeQwenImageEdit", clip=["clip", 0], prompt=text, image=["image", 0])


def read_looking_at_all(text):
    return node("TextEncodeQwenImageEditPlus", clip=["clip", 0], prompt=text, image1=["image", 0])


def sampled(guider, scheduler, latent, sampler="euler"):
    """From a guider to a picture."""
    return {
        "guider": guider,
        "noise": node("RandomNoise", noise_seed=7),
        "sampler": node("KSamplerSelect", sampler_name=sampler),
        "sigmas": scheduler,
        "empty": latent,
        "samples": node(
            "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sampler=["sampler", 0],
            sigmas=["sigmas", 0], latent_image=["empty", 0],
        ),
        "core": node("VAEDecode", samples=["samples", 0], vae=["vae", 0]),
    }  # fmt: skip


def ksampled(negative, cfg, sampler="euler", model="model"):
    return {
        "empty": node("EmptySD3LatentImage", width=SIDE, height=SIDE, batch_size=1),
        "samples": node(
            "KSampler", model=[model, 0], seed=7, steps=STEPS, cfg=cfg, sampler_name=sampler, scheduler="simple",
            positive=["shown", 0], negative=[negative, 0], latent_image=["empty", 0], denoise=1.0,
        ),
        "core": node("VAEDecode", samples=["samples", 0], vae=["vae", 0]),
    }  # fmt: skip


def three_passes(positive, middle, negative, text, image):
    conditionings = {"cond1": positive, "cond2": middle, "negative": negative}
    scales = {"cfg_conds": text, "cfg_cond2_negative": image, "style": "regular"}
    return node("DualCFGGuider", model=["model", 0], **conditionings, **scales)


def basic_schedule(name):
    return node("BasicScheduler", model=["model", 0], scheduler=name, steps=STEPS, denoise=1.0)


def flux2_schedule():
    return node("Flux2Scheduler", steps=STEPS, width=SIDE, height=SIDE)


def referenced(read, pictures=("image",)):
    """The two conditionings, each with the pictures' latents: “shown” and “blank”."""
    graph = {"text": read(INSTRUCTION), "no_text": read("")}
    last = {"text": "text", "no_text": "no_text"}
    for picture in pictures:
        graph[f"latent_{picture}"] = node("VAEEncode", pixels=[picture, 0], vae=["vae", 0])
        for kind, before in last.items():
            last[kind] = f"{kind}_{picture}"
            inputs = {"conditioning": [before, 0], "latent": [f"latent_{picture}", 0]}
            graph[last[kind]] = node("ReferenceLatent", **inputs)
    graph["shown"], graph["blank"] = graph.pop(last["text"]), graph.pop(last["no_text"])
    return graph


def core_instruct_pix2pix(text):
    pair = {"positive": ["text", 0], "negative": ["no_text", 0], "vae": ["vae", 0], "pixels": ["image", 0]}
    guider = three_passes(["pair", 0], ["pair", 1], ["no_text", 0], text, 1.5)
    return {
        "text": read_plainly(INSTRUCTION),
        "no_text": read_plainly(""),
        "pair": node("InstructPixToPixConditioning", **pair),
        **sampled(guider, basic_schedule("normal"), node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1)),
    }


def core_kontext(sampler="euler", pictures=("image",)):
    graph = referenced(read_plainly, pictures)
    graph["told"] = graph.pop("shown")
    graph["shown"] = node("FluxGuidance", conditioning=["told", 0], guidance=2.5)
    return {**graph, "zero": node("ConditioningZeroOut", conditioning=["text", 0]), **ksampled("zero", 1.0, sampler)}


def core_flux2():
    graph = referenced(read_plainly)
    graph["told"] = node("FluxGuidance", conditioning=["shown", 0], guidance=4.0)
    guider = node("BasicGuider", model=["model", 0], conditioning=["told", 0])
    return {**graph, **sampled(guider, flux2_schedule(), empty_flux2())}


def core_klein():
    guider = node("CFGGuider", model=["model", 0], positive=["shown", 0], negative=["blank", 0], cfg=1.0)
    return {**referenced(read_plainly), **sampled(guider, flux2_schedule(), empty_flux2())}


def empty_flux2():
    return node("EmptyFlux2LatentImage", width=SIDE, height=SIDE, batch_size=1)


def core_qwen(read):
    shifted = node("ModelSamplingAuraFlow", model=["model", 0], shift=3.1)
    tuned = node("CFGNorm", model=["shifted", 0], strength=1.0)
    return {**referenced(read), "shifted": shifted, "tuned": tuned, **ksampled("blank", 4.0, model="tuned")}


def core_omnigen2():
    guider = three_passes(["shown", 0], ["blank", 0], ["no_text", 0], 5.0, 2.0)
    empty = node("EmptySD3LatentImage", width=SIDE, height=SIDE, batch_size=1)
    return {**referenced(read_plainly), **sampled(guider, basic_schedule("simple"), empty)}


CORE = {
    "instruct_pix2pix": lambda: core_instruct_pix2pix(7.5),
    "instruct_pix2pix_xl": lambda: core_instruct_pix2pix(7.0),
    "flux_kontext": core_kontext,
    "qwen_image_edit_plus": lambda: core_qwen(read_looking_at_all),
    "qwen_image_edit": lambda: core_qwen(read_looking),
    "flux2": core_flux2,
    "flux2_klein": core_klein,
    "longcat_image_edit": lambda: {**referenced(read_looking), **ksampled("blank", 4.5)},
    "omnigen2": core_omnigen2,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_is_what_core_nodes_make_bit_for_bit(server, family):
    graph = {**loaders(family), **editor(family), "image": noise(), "edit": edit(), **CORE[family]()}
    found = run(server, {**graph, "same": difference("edit", "core")})["same"]
    assert found["difference"] == [0.0] and found["shapes"][0] == [1, SIDE, SIDE, 3]
    assert 0.01 < found["spread"][0] < 0.45  # neither flat nor all black and white


@pytest.mark.parametrize("sampler", ["dpmpp_2m_sde", "euler_ancestral"])
def test_samplers_with_fresh_noise_draw_it_as_core_does(server, sampler):
    graph = {**loaders("flux_kontext"), **editor("flux_kontext"), "image": noise(), "edit": edit(sampler=sampler)}
    graph |= editor("flux_kontext", scheduler="simple", sampler=sampler) | core_kontext(sampler)
    assert run(server, {**graph, "same": difference("edit", "core")})["same"]["difference"] == [0.0]


def test_the_sampler_and_scheduler_of_the_editor_node_are_used(server):
    graph = {**loaders("flux_kontext"), **editor("flux_kontext", sampler="heun", scheduler="simple"), "image": noise()}
    graph |= {"edit": edit(), **core_kontext("heun"), "same": difference("edit", "core")}
    assert run(server, graph)["same"]["difference"] == [0.0]


def test_the_users_own_sampling_patch_stays(server):
    graph = {**loaders("qwen_image_edit"), "image": noise(), "edit": edit(), **core_qwen(read_looking)}
    del graph["tuned"]
    graph["shifted"]["inputs"]["shift"] = 2.0
    graph["samples"]["inputs"]["model"] = ["shifted", 0]
    graph |= {**editor("qwen_image_edit", model=["shifted", 0]), "same": difference("edit", "core")}
    assert run(server, graph)["same"]["difference"] == [0.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_a_batch_do_not_depend_on_each_other(server, family):
    graph = {**loaders(family), **editor(family), "images": noise(batch=3, width=100, height=70)}
    graph["batch"] = edit(image=["images", 0], variations=2, seed=5)
    graph["image"] = node("TestRow", image=["images", 0], index=2)
    graph["alone"] = edit(seed=6)
    graph["last"] = node("TestRow", image=["batch", 0], index=5)
    graph["other_seed"] = node("TestRow", image=["batch", 0], index=4)
    graph |= {"same": difference("last", "alone"), "changed": difference("last", "other_seed")}
    found = run(server, graph)
    assert found["same"]["difference"] == [0.0] and found["same"]["shapes"][0] == [1, 70, 100, 3]
    assert found["changed"]["difference"][0] > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_outside_the_mask_the_source_comes_back_bit_for_bit(server, family):
    graph = {**loaders(family), **editor(family), "image": noise(width=100, height=70)}
    graph["mask"] = node("TestLeftHalf", image=["image", 0])
    graph["edit"] = edit(mask=["mask", 0])
    graph |= {"kept": difference("edit", "image", outside=["mask", 0]), "changed": difference("edit", "image")}
    found = run(server, graph)
    assert found["kept"]["difference"] == [0.0] and found["changed"]["difference"][0] > 0.01


@pytest.mark.parametrize("family", ["flux_kontext"])
def test_three_pictures_are_references_in_their_order(server, family):
    graph = {**loaders(family), **editor(family), "image": noise(1), "second": noise(2), "third": noise(3)}
    pictures = {"first": ["second", 0], "second": ["third", 0]}
    inputs = {"editor": ["editor", 0], "image": ["image", 0], "instruction": INSTRUCTION, "seed": 7}
    graph["edit"] = node("TestEditWithReferences", **inputs, **pictures)
    core = core_kontext(pictures=("image", "second", "third"))
    core["samples"]["inputs"]["steps"] = 20
    graph |= {**core, "same": difference("edit", "core"), "alone": edit(steps=20), "seen": difference("edit", "alone")}
    found = run(server, graph)
    assert found["same"]["difference"] == [0.0] and found["seen"]["difference"][0] > 0.001


@pytest.mark.parametrize("family", ["qwen_image_edit_plus", "flux2", "flux2_klein", "omnigen2"])
def test_further_pictures_change_the_edit(server, family):
    graph = {**loaders(family), **editor(family), "image": noise(1), "other": noise(2), "another": noise(3)}
    inputs = {"editor": ["editor", 0], "image": ["image", 0], "instruction": INSTRUCTION, "seed": 7}
    for name, first in (("edit", "other"), ("changed", "another")):
        graph[name] = node("TestEditWithReferences", **inputs, first=[first, 0], second=["image", 0])
    graph["seen"] = difference("edit", "changed")
    assert run(server, graph)["seen"]["difference"][0] > 1e-4


@pytest.mark.parametrize("family", ["instruct_pix2pix", "qwen_image_edit", "longcat_image_edit"])
def test_a_model_that_sees_one_picture_refuses_more(server, family):
    inputs = {
        "image": ["image", 0],
        "instruction": INSTRUCTION,
        "seed": 7,
        "first": ["image", 0],
        "second": ["image", 0],
    }
    graph = {**loaders(family), **editor(family), "image": noise()}
    graph |= {"edit": node("TestEditWithReferences", editor=["editor", 0], **inputs), "end": difference("edit", "edit")}
    assert error_of(server.run(graph)).startswith("references: got 2 pictures")


@pytest.mark.parametrize(("family", "texts"), [("flux_kontext", 3), ("instruct_pix2pix", 4), ("qwen_image_edit", 4)])
def test_nothing_is_encoded_twice(server, family, texts):
    """Three instructions with two seeds each, then one of them again: one encoding a text, one of the source."""
    graph = {**loaders(family), "image": noise(), "counted": node("TestCounted", clip=["clip", 0], vae=["vae", 0])}
    graph |= editor(family, clip=["counted", 0], vae=["counted", 1])
    graph["text"] = node("TestInstructions", text=f"one {uuid.uuid4()}\ntwo\nthree")
    graph["first_edits"] = edit(instruction=["text", 0], variations=2)
    graph["edit"] = node("TestAfter", image=["image", 0], wait_for=["first_edits", 0])
    graph["again"] = edit(image=["edit", 0], instruction="two", seed=9)
    graph["counts"] = node("TestCounts", after=["again", 0], clip=["counted", 0], vae=["counted", 1])
    assert run(server, graph)["counts"]["counts"] == [texts, 1]


# Wrong wirings


def wired_wrong(server, model="flux_kontext", clip=None, vae=None, **inputs):
    graph = loaders(model) if model in FAMILIES else {"model": node("TestMiniatureModel", family=model)}
    graph["clip"] = node("TestMiniatureTextEncoder", family=clip or model)
    graph["vae"] = node("VAELoader", vae_name=VAE_OF[vae or ("instruct_pix2pix" if model not in FAMILIES else model)])
    graph |= {**editor(model, **inputs), "image": noise(), "edit": edit(), "end": difference("edit", "edit")}
    message = error_of(server.run(graph)).strip()
    assert "\n" not in message
    return message


def test_a_text_to_image_model_is_named(server):
    message = wired_wrong(server, "text_to_image")
    assert message.startswith("model: found a SD15 model with 4 input channels") and "FLUX.1 Kontext" in message


@pytest.mark.parametrize("other", ["instruct_pix2pix", "qwen_image_edit", "flux2"])
def test_the_vae_of_another_model_is_refused(server, other):
    assert wired_wrong(server, "flux_kontext", vae=other).startswith("vae: makes latents of ")


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


# LoRA


def lora(path, fault=""):
    return node("TestWriteLora", model=["model", 0], path=str(path), fault=fault)


def with_lora(strength=1.0):
    return node("TestWithLora", editor=["editor", 0], path=["lora", 0], strength=strength)


@pytest.fixture
def lora_path(server):
    """A file in the server's folder of LoRAs, so that its own loader finds it too."""
    path = Path(server.log).parent / "models" / "loras" / f"{uuid.uuid4().hex}.safetensors"
    path.parent.mkdir(exist_ok=True)
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_does_what_cores_loader_does_and_leaves_the_editor_as_it_was(server, family, lora_path):
    base = {**loaders(family), **editor(family), "image": noise(), "before": edit()}
    graph = {**base, "lora": lora(lora_path), "adapted": with_lora(0.5), "after": edit(editor=["adapted", 0])}
    graph["changed"] = difference("before", "after")
    found = run(server, graph)
    assert found["changed"]["difference"][0] > 1e-4
    assert found["adapted"]["shared"] == [True] and found["adapted"]["matched"][0] > 0
    assert not found["adapted"].get("unmatched")

    weights = {"lora_name": lora_path.name, "strength_model": 0.5, "strength_clip": 0.5}
    graph["loaded"] = node("LoraLoader", model=["model", 0], clip=["clip", 0], **weights)
    graph |= editor(family, "_core", model=["loaded", 0], clip=["loaded", 1], vae=["vae", 0])
    graph |= {"core": edit(editor=["editor_core", 0]), "same": difference("after", "core")}
    graph |= {
        "once_more": edit(seed=8),
        "again": edit(image=["copy", 0]),
        "copy": node("TestRow", image=["image", 0], index=0),
    }
    graph |= {"off": difference("before", "again"), "end": difference("once_more", "once_more")}
    found = run(server, graph)
    assert found["same"]["difference"] == [0.0] and found["off"]["difference"] == [0.0]


def test_a_lora_of_strength_zero_is_off(server, lora_path):
    graph = {
        **loaders("flux_kontext"),
        **editor("flux_kontext"),
        "image": noise(),
        "before": edit(),
        "lora": lora(lora_path),
    }
    graph |= {"adapted": with_lora(0.0), "after": edit(editor=["adapted", 0]), "same": difference("before", "after")}
    assert run(server, graph)["same"]["difference"] == [0.0]


@pytest.mark.parametrize(("layout", "layers"), [("kohya", 23), ("diffusers", 3)])
def test_other_trainers_names_are_known(server, lora_path, layout, layers):
    graph = {**loaders("flux_kontext"), **editor("flux_kontext"), "image": noise(), "before": edit()}
    graph |= {"lora": lora(lora_path, layout), "adapted": with_lora(-1.0), "after": edit(editor=["adapted", 0])}
    found = run(server, {**graph, "changed": difference("before", "after")})
    assert found["adapted"]["matched"] == [layers] and not found["adapted"].get("unmatched")
    assert found["changed"]["difference"][0] > 1e-4


def test_what_does_not_fit_is_said(server, lora_path):
    graph = {
        **loaders("flux_kontext"),
        **editor("flux_kontext"),
        "lora": lora(lora_path, "extra"),
        "adapted": with_lora(),
    }
    assert run(server, graph)["adapted"]["unmatched"] == ["other_model.layer"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("nan", "has NaN or infinite values in"),
        ("rank", "made for another model, or it is damaged"),
        ("size", "made for another model, or it is damaged"),
        ("stranger", "it was made for another model (it has for example other_model.diffusion_model."),
        ("no up", "is not whole"),
        ("no down", "is not whole"),
        ("empty", "is empty"),
    ],
)
def test_a_bad_lora_is_refused_as_a_whole(server, lora_path, fault, sentence):
    graph = {
        **loaders("flux_kontext"),
        **editor("flux_kontext"),
        "lora": lora(lora_path, fault),
        "adapted": with_lora(),
    }
    message = error_of(server.run(graph)).strip()
    assert message.startswith("lora: ") and sentence in message and "\n" not in message


def test_a_lora_of_another_family_is_refused(server, lora_path):
    other = {"model_other": node("TestMiniatureModel", family="omnigen2")}
    graph = {
        **loaders("flux_kontext"),
        **editor("flux_kontext"),
        **other,
        "lora": lora(lora_path),
        "adapted": with_lora(),
    }
    graph["lora"]["inputs"]["model"] = ["model_other", 0]
    assert "it was made for another model" in error_of(server.run(graph))


# Cancel and memory


def test_cancel_ends_a_long_run_and_the_next_one_works(server):
    graph = {
        **loaders("flux_kontext"),
        **editor("flux_kontext"),
        "image": noise(),
        "edit": edit(steps=900, variations=8),
    }
    graph["end"] = difference("edit", "edit")
    _, answer = server.post("/prompt", {"prompt": graph})
    while not server.json("/queue")["queue_running"]:
        time.sleep(0.05)
    time.sleep(1.5)
    server.post("/interrupt", {})
    entry = server.wait(answer["prompt_id"], 20)
    assert any(name == "execution_interrupted" for name, _ in entry["status"]["messages"])
    graph["edit"] = edit(seed=12)
    run(server, graph)


def test_models_that_were_thrown_out_come_back(server):
    graph = {**loaders("flux_kontext"), **editor("flux_kontext"), "image": noise(), "first": edit(seed=11)}
    graph["end"] = difference("first", "first")
    run(server, graph)
    server.post("/free", {"unload_models": True, "free_memory": False})
    graph |= {"copy": node("TestRow", image=["image", 0], index=0), "second": edit(seed=11, image=["copy", 0])}
    graph["same"] = difference("first", "second")
    assert run(server, graph)["same"]["difference"] == [0.0]


def test_two_editors_alternate_without_a_leak(server):
    """Fifty prompts; what is loaded once and what the allocator keeps is there after ten."""
    graph = {**loaders("flux_kontext", "_a"), **editor("flux_kontext", "_a"), "image": noise()}
    graph |= {**loaders("instruct_pix2pix", "_b"), **editor("instruct_pix2pix", "_b")}
    graph |= {f"editor_{name}": graph[f"editor_{name}"] for name in "ab"}
    for name in "ab":
        graph[f"editor_{name}"]["inputs"] |= {part: [f"{part}_{name}", 0] for part in ("model", "clip", "vae")}
    sizes = []
    for prompt in range(50):
        graph["edit"] = edit(editor=[f"editor_{'ab'[prompt % 2]}", 0], seed=prompt, instruction=f"make it {prompt}")
        run(server, {**graph, "end": difference("edit", "edit")})
        sizes.append(resident(server.pid))
    assert sizes[-1] - sizes[9] < 24 * 2**20, [size >> 20 for size in sizes]


def resident(pid):
    """Bytes of memory that a process holds."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def test_the_shipped_workflow_runs_with_miniatures_in_place_of_its_models(server):
    folder = Path(server.log).parent / "input"
    Image.new("RGB", (96, 64), "teal").save(folder / "example.png")
    graph = json.loads((PACK_ROOT / "workflows" / "api" / "native_omnigen2.json").read_text(encoding="utf-8"))
    kinds = {entry["class_type"]: key for key, entry in graph.items()}
    small = loaders("omnigen2")
    for kind, part in (("UNETLoader", "model"), ("CLIPLoader", "clip"), ("VAELoader", "vae")):
        graph[kinds[kind]] = small[part]
    graph[kinds["RethinkEditorFromModel"]]["inputs"]["megapixels"] = AREA
    graph[kinds["RethinkSampleEdit"]]["inputs"]["steps"] = STEPS
    (saved,) = run(server, graph)[kinds["SaveImage"]]["images"]
    assert Image.open(io.BytesIO(server.view(saved))).size == (96, 64)
