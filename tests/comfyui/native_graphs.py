"""Prompts for a real ComfyUI: an edit by the pack's nodes on miniature models, and the same one by ComfyUI's own nodes."""

SIDE = 128  # of the source: as many pixels as the editors here work on, so that nothing is resized
AREA = SIDE * SIDE / 2**20
STEPS = 2
INSTRUCTION = "make it snow"
KIND = {"qwen_image_edit": "Qwen-Image-Edit"}  # all others are told by their models
VAE_OF = {
    "instruct_pix2pix": "miniature_sd.safetensors",
    "instruct_pix2pix_xl": "miniature_sd.safetensors",
    "flux_kontext": "miniature_flux.safetensors",
    "qwen_image_edit_plus": "miniature_qwen.safetensors",
    "qwen_image_edit": "miniature_qwen.safetensors",
    "flux2": "taef2",
    "flux2_klein": "taef2",
    "longcat_image_edit": "miniature_flux.safetensors",
    "omnigen2": "miniature_flux.safetensors",
}
FAMILIES = list(VAE_OF)


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


def run(server, graph):
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    return entry["outputs"]


def error_of(entry: dict) -> str:
    """What a node of a run that failed has said."""
    return next(data["exception_message"] for name, data in entry["status"]["messages"] if name == "execution_error")


def together(first, second):
    return node("ImageBatch", image1=[first, 0], image2=[second, 0])


# The same edit by ComfyUI's own nodes


def read_plainly(text):
    return node("CLIPTextEncode", clip=["clip", 0], text=text)


def encode_text_with_image(text):
    return node("TextEncodeQwenImageEdit", clip=["clip", 0], prompt=text, image=["image", 0])


def encode_text_with_images(text):
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
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["sampler", 0],
            sigmas=["sigmas", 0],
            latent_image=["empty", 0],
        ),
        "core": node("VAEDecode", samples=["samples", 0], vae=["vae", 0]),
    }


def ksampled(negative, cfg, sampler="euler", model="model"):
    return {
        "empty": node("EmptySD3LatentImage", width=SIDE, height=SIDE, batch_size=1),
        "samples": node(
            "KSampler",
            model=[model, 0],
            seed=7,
            steps=STEPS,
            cfg=cfg,
            sampler_name=sampler,
            scheduler="simple",
            positive=["shown", 0],
            negative=[negative, 0],
            latent_image=["empty", 0],
            denoise=1.0,
        ),
        "core": node("VAEDecode", samples=["samples", 0], vae=["vae", 0]),
    }


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
    "qwen_image_edit_plus": lambda: core_qwen(encode_text_with_images),
    "qwen_image_edit": lambda: core_qwen(encode_text_with_image),
    "flux2": core_flux2,
    "flux2_klein": core_klein,
    "longcat_image_edit": lambda: {**referenced(encode_text_with_image, method="index"), **ksampled("blank", 4.5)},
    "omnigen2": core_omnigen2,
}
