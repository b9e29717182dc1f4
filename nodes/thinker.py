"""The nodes around one thought: load a thinker, have an edit criticized; and how other nodes ask one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from comfy_api.latest import io

from ..rethink.errors import RethinkError
from ..rethink.images import as_image
from ..rethink.pairs.inverse.instructions import Each
from ..rethink.pairs.inverse.processes import thread_map
from ..rethink.think_loop import Continue, LoopConfig, critique_turn, is_accepted, validate_source
from ..rethink.thinkers.critique import TEMPLATE, Thinker
from ..rethink.thinkers.loading import BITS, DTYPES
from ..rethink.trajectory import Step
from . import feedback, permissions, sockets
from .comfy import memory, model_folders, progress
from .inputs import AnyOption, seed_input
from .native.chat import NativeChat

OWN = "Rethink's own"  # the wording of the critique


class LoadThinker(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkLoadThinker",
            display_name="Load Thinker",
            category="Rethink/Think",
            description="A vision-language model that judges edits and writes better prompts.",
            search_aliases=[
                "editthinker",
                "critic",
                "vlm",
                "load vlm",
                "vision model",
                "judge",
                "qwen3-vl",
                "ollama",
                "vllm",
                "openai",
                "load critic",
            ],
            inputs=[
                io.DynamicCombo.Input(
                    "backend",
                    options=[
                        io.DynamicCombo.Option("built-in", []),
                        io.DynamicCombo.Option("ComfyUI model", [_clip_input()]),
                        io.DynamicCombo.Option("local folder", _folder_inputs()),
                        io.DynamicCombo.Option("server", _server_inputs()),
                    ],
                    tooltip="Where the model runs. built-in: a small one, for the pictures of Built-in Scene. ComfyUI "
                    "model: from Load CLIP. local folder: a transformers folder in models/LLM. server: any address that "
                    "speaks OpenAI's language, here or elsewhere.",
                ),
                io.Int.Input(
                    "max_tokens",
                    optional=True,
                    default=2048,
                    min=16,
                    max=131072,
                    tooltip="The longest answer. One that is cut off has no scores; models that reason at length need more.",
                    advanced=True,
                ),
                io.Float.Input(
                    "temperature",
                    optional=True,
                    default=0.0,
                    min=0.0,
                    max=2.0,
                    step=0.1,
                    round=0.01,
                    tooltip="0: the likeliest answer, the same every time. Higher: more varied prompts.",
                    advanced=True,
                ),
            ],
            outputs=[sockets.Thinker.Output("thinker", tooltip="For the nodes that think.")],
        )

    @classmethod
    def fingerprint_inputs(cls, backend: dict[str, Any], **_) -> Any:
        if backend["backend"] == "server":
            return permissions.stamp(backend.get("base_url", ""), backend.get("key_variable", ""))
        name = {"built-in": model_folders.BUILT_IN, "local folder": backend.get("folder")}.get(backend["backend"])
        return name and model_folders.files_fingerprint(
            model_folders.thinker_path(name)
        )  # a replaced file is loaded anew

    @classmethod
    def execute(cls, backend: dict[str, Any], max_tokens: int = 2048, temperature: float = 0.0) -> io.NodeOutput:
        settings = dict(backend)
        kind = settings.pop("backend")
        template = settings.pop("template", OWN)
        if kind == "server":
            chat = _server_chat(**settings)
        elif kind == "ComfyUI model":
            chat = NativeChat(settings["clip"])
        else:
            chat = memory.load_chat(settings.pop("folder", model_folders.BUILT_IN), **settings)
        wording = TEMPLATE if template == OWN else model_folders.template_text(template)
        return io.NodeOutput(Thinker(chat, wording, max_tokens, temperature))


def _server_chat(base_url: str, **settings: Any):
    """A chat with a server. All else that is wrong is said before anybody is asked whether it may be sent images."""
    from ..rethink.thinkers.address import parse_address
    from ..rethink.thinkers.openai_chat import OpenAIChat

    origin, _ = parse_address(base_url)
    chat = OpenAIChat(base_url, **settings, trust=permissions.read_settings().with_host(origin))
    permissions.check_images(base_url)
    return chat


def _clip_input() -> io.Input:
    return io.Clip.Input(
        "clip", tooltip="Qwen3-VL, Qwen3.5 or Gemma 4, from Load CLIP. Text encoders that only encode cannot think."
    )


def _folder_inputs() -> list[io.Input]:
    names = model_folders.thinker_names()
    return [
        io.Combo.Input(
            "folder",
            optional=True,
            options=AnyOption(names),
            default=names[0] if names else None,
            tooltip="A model that sees, in models/LLM: EditThinker-8B, Qwen3-VL, Qwen2.5-VL, or another.",
        ),
        io.Combo.Input(
            "dtype",
            optional=True,
            options=list(DTYPES),
            default="auto",
            tooltip="Number format of the weights. auto takes what this machine computes best.",
            advanced=True,
        ),
        io.Combo.Input(
            "quantization",
            optional=True,
            options=list(BITS),
            default="none",
            tooltip="Fewer bits a weight: less memory, a little less exact. Needs the package bitsandbytes.",
            advanced=True,
        ),
        io.Combo.Input(
            "template",
            optional=True,
            options=AnyOption([OWN, *model_folders.template_names()]),
            default=OWN,
            tooltip="How it is asked: Rethink's own wording, or a .txt file in the model's folder, for a model that was "
            "trained on a wording of its own. {source}, {edited}, {instruction} and {prompt} in it are filled in.",
            advanced=True,
        ),
    ]


def _server_inputs() -> list[io.Input]:
    return [
        io.String.Input(
            "base_url",
            optional=True,
            default="http://127.0.0.1:8000/v1",
            tooltip="Up to /v1. Ollama: http://127.0.0.1:11434/v1. OpenAI: https://api.openai.com/v1. Gemini: "
            "https://generativelanguage.googleapis.com/v1beta/openai. Before your images go to another machine for the "
            "first time, you are asked.",
        ),
        io.String.Input(
            "model", optional=True, default="", placeholder="qwen3-vl", tooltip="Its name, as the server knows it."
        ),
        io.String.Input(
            "key_variable",
            optional=True,
            default="",
            placeholder="OPENAI_API_KEY",
            tooltip="The NAME of the environment variable with the key, never the key itself: workflows are shared. "
            "Empty for a server that wants none. A provider's own variable goes to that provider alone; the help page says "
            "how to pair others.",
        ),
        io.Int.Input(
            "timeout",
            optional=True,
            default=120,
            min=1,
            max=3600,
            tooltip="Seconds for one answer, all in all.",
            advanced=True,
        ),
        io.Int.Input(
            "retries",
            optional=True,
            default=4,
            min=0,
            max=20,
            tooltip="How often to try again, with growing pauses, when the server is busy or gone.",
            advanced=True,
        ),
        io.Int.Input(
            "concurrency",
            optional=True,
            default=4,
            min=1,
            max=64,
            tooltip="How many questions it is asked at once: candidates of a turn, descriptions of pairs.",
            advanced=True,
        ),
    ]


class CritiqueEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkCritiqueEdit",
            display_name="Critique Edit",
            category="Rethink/Think",
            description="Has an edit judged once: scores, reasons, and the prompt to try next.",
            search_aliases=["judge", "score edit", "critic", "rate", "evaluate", "reflection"],
            has_intermediate_output=True,
            inputs=[
                sockets.Thinker.Input("thinker", tooltip="From Load Thinker."),
                io.Image.Input("source", tooltip="The picture before the edit."),
                io.Image.Input(
                    "edited", tooltip="The picture after it. A batch is judged picture by picture, at once."
                ),
                io.String.Input(
                    "instruction", multiline=True, default="", tooltip="What the user wants. The edit is judged by it."
                ),
                io.String.Input(
                    "prompt",
                    optional=True,
                    multiline=True,
                    default="",
                    tooltip="What the editor was told, where that is not the instruction itself.",
                ),
                seed_input("For a thinker whose temperature is not 0. Another one asks again.", "fixed"),
                *accept_inputs(),
            ],
            outputs=[
                io.Float.Output(
                    "semantic", is_output_list=True, tooltip="Done as asked, the rest left alone: 0 to 10."
                ),
                io.Float.Output("quality", is_output_list=True, tooltip="Natural, free of artifacts: 0 to 10."),
                io.String.Output("reasoning", is_output_list=True, tooltip="Why."),
                io.String.Output("next_prompt", is_output_list=True, tooltip="What to tell the editor next."),
                io.Boolean.Output(
                    "accepted",
                    is_output_list=True,
                    tooltip="Whether both scores are reached and something has changed at all.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, thinker, source, edited, instruction, seed, prompt="", accept_semantic=8.0, accept_quality=8.0
    ) -> io.NodeOutput:
        source, edited = validate_source(source, instruction), as_image(edited, "edited")
        rules = LoopConfig(accept=(accept_semantic, accept_quality))
        told = Continue(prompt.strip() or instruction, "user")
        seeds = [seed + row for row in range(len(edited))]
        steps = critique_turn(thinker, source, edited, instruction, told, 1, seeds, rules, on_token=_look_for_cancel)
        for step in steps:
            if step.critique.status == "failed":
                raise RethinkError(step.critique.note)
            if step.critique.semantic is None:
                advice = "gave no scores, asked twice; try more max_tokens or another model."
                raise RethinkError(f"thinker: {advice} {step.critique.note}")
        critiques = [step.critique for step in steps]
        return io.NodeOutput(
            [critique.semantic for critique in critiques],
            [critique.quality for critique in critiques],
            [critique.reasoning for critique in critiques],
            [critique.next_prompt or told.prompt for critique in critiques],
            [is_accepted(step, rules) for step in steps],
            ui=feedback.show_text(
                feedback.warn_if_unfamiliar("thinker", thinker.chat.name, source), *_words_of(steps, rules)
            ),
        )


def _words_of(steps: list[Step], rules: LoopConfig) -> Iterator[str]:
    """What the node shows of its verdicts, a paragraph an edit."""
    for number, step in enumerate(steps, 1):
        critique, good = step.critique, "accepted" if is_accepted(step, rules) else "not accepted"
        head = (
            f"{number}: " * (len(steps) > 1) + f"semantic {critique.semantic:g} · quality {critique.quality:g} · {good}"
        )
        yield "\n".join(
            filter(None, (head, critique.reasoning, f"Next: {critique.next_prompt}" * bool(critique.next_prompt)))
        )


def _look_for_cancel(*_) -> None:
    progress.stop_if_cancelled()


def accept_inputs() -> list[io.Input]:
    """The two scores from which an edit is good enough."""
    score = {"optional": True, "default": 8.0, "min": 0.0, "max": 10.0, "step": 0.5, "round": 0.01}
    return [
        io.Float.Input(
            "accept_semantic",
            **score,
            tooltip="An edit is good enough from this score on for doing what was asked and leaving the rest alone.",
        ),
        io.Float.Input(
            "accept_quality",
            **score,
            tooltip="An edit is good enough from this score on for looking natural. Both scores must be reached.",
        ),
    ]


@contextmanager
def asked(thinker: Thinker | None) -> Iterator[Callable[..., str] | None]:
    """The call that asks the thinker, with answers as long as it may give, and that ends within one token of Cancel; None
    where there is no thinker.

    What the thinker remembered meanwhile is given back in the end.
    """
    cancelled: list[BaseException] = []  # ComfyUI says so once, and several may be asking

    def stop_if_cancelled(*_) -> None:
        if cancelled:
            raise cancelled[0]
        try:
            progress.stop_if_cancelled()
        except BaseException as error:
            cancelled.append(error)
            raise

    def ask(messages, images, *, max_tokens: int, **options) -> str:
        options["on_token"] = stop_if_cancelled
        return thinker.chat.chat(messages, images, max_tokens=thinker.max_tokens, **options)

    try:
        yield None if thinker is None else ask
    finally:
        memory.release_caches(thinker)


def map_fn_for(thinker: Thinker | None) -> Each:
    """`map`, or what asks a server as often at once as its node says."""
    return thread_map(getattr(thinker.chat, "concurrency", 1) if thinker else 1)
