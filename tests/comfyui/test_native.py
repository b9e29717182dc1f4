"""ComfyUI's own models as editors, in a real ComfyUI: every family, miniature, against ComfyUI's own nodes."""

import io
import json
import re
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
VAE_OF = {
    "instruct_pix2pix": "miniature_sd.safetensors", "instruct_pix2pix_xl": "miniature_sd.safetensors",
    "flux_kontext": "miniature_flux.safetensors", "qwen_image_edit_plus": "miniature_qwen.safetensors",
    "qwen_image_edit": "miniature_qwen.safetensors", "flux2": "taef2", "flux2_klein": "taef2",
    "longcat_image_edit": "miniature_flux.safetensors", "omnigen2": "miniature_flux.safetensors",
}  # fmt: skip
FAMILIES = list(VAE_OF)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """The tests of one family come one after another, so that its models are loaded once for all of them."""
    return request.param


def node(kind, /, **inputs):
    return {"class_type": kind, "inputs": inputs}


def diffusion_model(family, weight_dtype="default"):
    return node("UNETLoader", unet_name=f"miniature_{family}.safetensors", weight_dtype=weight_dtype)


def loaders(family, name=""):
    """The three loaders of a family; `name` tells those of two families apart."""
    return {
        f"model{name}": diffusion_model(family),
        f"clip{name}": node("TestMiniatureTextEncoder", family=family),
        f"vae{name}": node("VAELoader", vae_name=VAE_OF[family]),
    }


def editor(family, name="", models="", **inputs):
    """The editor node, called “editor” + name, of the loaders called “model” + models, …"""
    wired = {part: [part + models, 0] for part in ("model", "clip", "vae")}
    chosen = {"sampler": "default", "scheduler": "default", "megapixels": AREA, "kind": KIND.get(family, "auto")}
    return {f"editor{name}": node("RethinkEditorFromModel", **{**wired, **chosen, **inputs})}


def native(family, **inputs):
    """Loaders and an editor of a family."""
    return {**loaders(family), **editor(family, **inputs)}


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


def referenced(read, pictures=("image",), method=""):
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
    if method:
        for kind in ("shown", "blank"):
            before, graph[f"{kind}_before"] = [f"{kind}_before", 0], graph[kind]
            inputs = {"conditioning": before, "reference_latents_method": method}
            graph[kind] = node("FluxKontextMultiReferenceLatentMethod", **inputs)
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


def core_qwen(read, method=""):
    shifted = node("ModelSamplingAuraFlow", model=["model", 0], shift=3.1)
    tuned = node("CFGNorm", model=["shifted", 0], strength=1.0)
    graph = {**referenced(read, method=method), "shifted": shifted, "tuned": tuned}
    return {**graph, **ksampled("blank", 4.0, model="tuned")}


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
    "longcat_image_edit": lambda: {**referenced(read_looking, method="index"), **ksampled("blank", 4.5)},
    "omnigen2": core_omnigen2,
}


def test_an_edit_is_what_core_nodes_make_bit_for_bit(server, family):
    graph = {**native(family), "image": noise(), "edit": edit(), **CORE[family]()}
    found = run(server, {**graph, "same": difference("edit", "core")})["same"]
    assert found["difference"] == [0.0] and found["shapes"][0] == [1, SIDE, SIDE, 3]
    assert 0.01 < found["spread"][0] < 0.45  # neither flat nor all black and white


def test_a_model_of_2511_whose_file_does_not_say_so_is_named(server):
    graph = {**native("qwen_image_edit", kind="Qwen-Image-Edit-Plus 2511")}
    graph |= {**editor("qwen_image_edit", "_auto", kind="auto")}
    graph |= {"image": noise(), "edit": edit(), "auto": edit(editor=["editor_auto", 0])}
    graph |= {**core_qwen(read_looking_at_all, "index_timestep_zero"), "same": difference("edit", "core")}
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
    graph = {**loaders("qwen_image_edit"), "image": noise(), "edit": edit(), **core_qwen(read_looking)}
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


def together(first, second):
    return node("ImageBatch", image1=[first, 0], image2=[second, 0])


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
    assert message.startswith("references: got 40 pictures, but ") and "\n" not in message


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


# LoRA


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
        ("rank", "made for another model, or it is damaged"),
        ("size", "made for another model, or it is damaged"),
        ("stranger", "it was made for another model (it has for example other_model.diffusion_model."),
        ("no up", "is not whole"),
        ("no down", "is not whole"),
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
    server.post("/interrupt", {})
    entry = server.wait(answer["prompt_id"], 20)
    assert any(name == "execution_interrupted" for name, _ in entry["status"]["messages"])
    graph["edit"] = edit(seed=12)
    run(server, graph)


def test_models_that_were_thrown_out_come_back(server, write_lora):
    graph = {**native("flux_kontext"), "image": noise(), "first": edit(seed=11)}
    graph |= {"adapted": with_lora(write_lora("flux_kontext")), "changed": edit(seed=11, editor=["adapted", 0])}
    graph["last"] = together("first", "changed")
    graph["pressure"] = node("TestPressure", image=["last", 0])
    graph["copy"] = node("TestAfter", image=["image", 0], wait_for=["pressure", 0])
    graph |= {"second": edit(seed=11, image=["copy", 0]), "same": difference("first", "second")}
    graph |= {"once_more": edit(seed=11, image=["copy", 0], editor=["adapted", 0])}
    found = run(server, {**graph, "same_lora": difference("changed", "once_more")})
    assert found["pressure"]["thrown_out"][0] >= 3  # MODEL, CLIP and VAE
    assert found["same"]["difference"] == found["same_lora"]["difference"] == [0.0]


@pytest.mark.parametrize("kind", ["flux_kontext", "qwen_image_edit_plus"])
def test_models_may_throw_each_other_out_during_an_edit(server, kind):
    graph = {**native(kind), "image": noise(), "easy": edit(variations=2)}
    graph["crowded"] = node("TestCrowded", clip=["clip", 0], vae=["vae", 0])
    graph |= editor(kind, "_crowded", clip=["crowded", 0], vae=["crowded", 1])
    graph |= {"hard": edit(variations=2, editor=["editor_crowded", 0]), "same": difference("easy", "hard")}
    assert run(server, graph)["same"]["difference"] == [0.0]


def test_two_editors_alternate_without_a_leak(server):
    """Fifty prompts, after each of which the models are thrown out; what is loaded once is there after ten."""
    graph = {"image": noise()}
    for name, kind in (("_a", "flux_kontext"), ("_b", "instruct_pix2pix")):
        graph |= {**loaders(kind, name), **editor(kind, name, name)}
    sizes = []
    for prompt in range(50):
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
