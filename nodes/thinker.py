"""The nodes around a single critique: load a thinker, critique an edit; and how other nodes query a thinker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..rethink.errors import RethinkError
from ..rethink.images import as_image
from ..rethink.loop_config import ACCEPT, LoopConfig
from ..rethink.pairs.models import ModelSource
from ..rethink.steps import Continue, Step
from ..rethink.think_loop import ThinkTask, TurnEdits, critique_turn, is_accepted
from ..rethink.thinkers.asking import chat_fn
from ..rethink.thinkers.critique import TEMPLATE, Thinker
from ..rethink.thinkers.loading import Backend, ThinkerConfig, list_backends
from . import feedback, permissions, sockets
from .comfy import memory, model_folders, progress
from .inputs import AnyOption, field_input, seed_input
from .native.chat import NativeChat

OWN = "Rethink's own"  # the wording of the critique
COMFYUI_MODEL = "ComfyUI model"  # the one backend that is not the library's
COMFYUIS_CHOICE = ("device",)  # of the options of a thinker: where it computes
PLACEHOLDERS = {"model": "qwen3-vl", "key_variable": "OPENAI_API_KEY"}


class LoadThinker(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkLoadThinker",
            display_name="Load Thinker",
            category="Rethink/Think",
            description="Loads a vision-language model that judges edits and writes better prompts.",
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
                _backend_input(),
                field_input(ThinkerConfig, "max_tokens", optional=True),
                field_input(ThinkerConfig, "temperature", optional=True),
            ],
            outputs=[sockets.Thinker.Output("thinker", tooltip="For the nodes that think.")],
        )

    @classmethod
    def fingerprint_inputs(cls, backend: dict[str, Any], **_: Any) -> Any:
        row = _backend(backend["backend"])
        if row is None:
            return None
        if row.remote:
            known = backend.get(row.location.name, "") if row.location else ""  # empty if it comes from a link
            return permissions.stamp(known, backend.get("key_variable", ""))
        path = _model_path(row, backend)
        return path and model_folders.files_fingerprint(path)  # a replaced file is loaded again

    @classmethod
    def execute(cls, backend: dict[str, Any], max_tokens: int = 2048, temperature: float = 0.0) -> io.NodeOutput:
        row = _backend(backend["backend"])
        if row is None:
            return io.NodeOutput(Thinker(NativeChat(backend["clip"]), TEMPLATE, max_tokens, temperature))
        template = backend.get("template", OWN)
        path = _model_path(row, backend)
        config = ThinkerConfig(
            where=str(path) if row.location and path else _where(row, backend),
            **{name: backend[name] for name in row.options if name in backend},
            template=TEMPLATE if template == OWN else model_folders.template_text(template),
            max_tokens=max_tokens,
            temperature=temperature,
        )
        name = _where(row, backend)
        if row.remote:
            chat = permissions.open_remote(config.where, lambda trust: row.open(config, trust))
        else:
            chat = memory.load_chat(row, config, name, path)
        return io.NodeOutput(Thinker(chat, config.template, max_tokens, temperature))


def _backend(name: str) -> Backend | None:
    """The library's row of a choice in the menu; None for ComfyUI's own models."""
    return next((row for row in list_backends() if row.name == name), None)


def _where(row: Backend, inputs: dict[str, Any]) -> str:
    """The user's choice: a name among the model folders, an address, or the backend itself."""
    if row.location is None:
        return row.name
    chosen = inputs.get(row.location.name)
    return row.location.default if chosen is None else chosen


def _model_path(row: Backend, inputs: dict[str, Any]) -> Path | None:
    """The path of the model's files, if there are any."""
    if row.location is None:
        return row.folder
    is_folder = row.location.kind == "model folder"
    return model_folders.thinker_path(_where(row, inputs)) if is_folder else None


def _backend_input() -> io.Input:
    """The menu of backends, each with the inputs that it needs."""
    options = [io.DynamicCombo.Option(row.name, _inputs_of(row)) for row in list_backends()]
    options.insert(1, io.DynamicCombo.Option(COMFYUI_MODEL, [_clip_input()]))
    meanings = [f"{row.name}: {row.help}" for row in list_backends()]
    meanings.insert(1, f"{COMFYUI_MODEL}: from Load CLIP")
    return io.DynamicCombo.Input("backend", options=options, tooltip=f"Where the model runs. {'. '.join(meanings)}.")


def _clip_input() -> io.Input:
    return io.Clip.Input(
        "clip", tooltip="Qwen3-VL, Qwen3.5 or Gemma 4, from Load CLIP. Text encoders that only encode cannot think."
    )


def _inputs_of(row: Backend) -> list[io.Input]:
    inputs: list[io.Input] = []
    if row.location is not None and row.location.kind == "model folder":
        names = model_folders.thinker_names()
        inputs.append(
            io.Combo.Input(
                row.location.name,
                optional=True,
                options=AnyOption(names),
                default=names[0] if names else None,
                tooltip=row.location.help,
            )
        )
    elif row.location is not None:
        inputs.append(
            io.String.Input(row.location.name, optional=True, default=row.location.default, tooltip=row.location.help)
        )
    for name in row.options:
        if name not in COMFYUIS_CHOICE:
            hint = {"placeholder": PLACEHOLDERS[name]} if name in PLACEHOLDERS else {}
            inputs.append(field_input(ThinkerConfig, name, optional=True, **hint))
    return [*inputs, _template_input()] if row.has_templates else inputs


def _template_input() -> io.Input:
    return io.Combo.Input(
        "template",
        optional=True,
        options=AnyOption([OWN, *model_folders.template_names()]),
        default=OWN,
        tooltip="The prompt for critiques: Rethink's own, or a .txt file in the model's folder, for a model that was "
        "trained on another prompt. {source}, {edited}, {instruction} and {prompt} in it are filled in.",
        advanced=True,
    )


class CritiqueEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkCritiqueEdit",
            display_name="Critique Edit",
            category="Rethink/Think",
            description="Judges an edit once: scores, reasons, and the prompt to try next.",
            search_aliases=["judge", "score edit", "critic", "rate", "evaluate", "reflection"],
            has_intermediate_output=True,
            inputs=[
                sockets.Thinker.Input("thinker", tooltip="From Load Thinker."),
                io.Image.Input("source", tooltip="The image before the edit."),
                io.Image.Input(
                    "edited",
                    tooltip="The image after the edit. The images of a batch are judged separately, all at once.",
                ),
                io.String.Input(
                    "instruction", multiline=True, default="", tooltip="What the user wants. The edit is judged by it."
                ),
                io.String.Input(
                    "prompt",
                    optional=True,
                    multiline=True,
                    default="",
                    tooltip="The prompt of the edit, if it is not the instruction itself.",
                ),
                seed_input("For a thinker whose temperature is not 0. A different seed asks again.", "fixed"),
                *accept_inputs(),
            ],
            outputs=[
                io.Float.Output(
                    "semantic", is_output_list=True, tooltip="Does what was asked and leaves the rest alone: 0 to 10."
                ),
                io.Float.Output(
                    "quality", is_output_list=True, tooltip="Looks natural and free of artifacts: 0 to 10."
                ),
                io.String.Output("reasoning", is_output_list=True, tooltip="The reasons for the scores."),
                io.String.Output("next_prompt", is_output_list=True, tooltip="What to tell the editor next."),
                io.Boolean.Output(
                    "accepted",
                    is_output_list=True,
                    tooltip="Whether both scores are reached and anything has changed at all.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        thinker: Thinker,
        source: Tensor,
        edited: Tensor,
        instruction: str,
        seed: int,
        prompt: str = "",
        accept_semantic: float = ACCEPT,
        accept_quality: float = ACCEPT,
    ) -> io.NodeOutput:
        config = LoopConfig(accept=(accept_semantic, accept_quality))
        task = ThinkTask(source, instruction, thinker, config=config)
        edited = as_image(edited, "edited")
        edits = TurnEdits(
            1, Continue(prompt.strip() or instruction, "user"), [seed + row for row in range(len(edited))], edited
        )
        steps = critique_turn(task, edits, on_token=_look_for_cancel)
        for step in steps:
            if step.critique.status == "failed":
                raise RethinkError(step.critique.note)
            if step.critique.semantic is None:
                advice = "gave no scores when asked twice; raise max_tokens or try another model."
                raise RethinkError(f"thinker: {advice} {step.critique.note}")
        critiques = [step.critique for step in steps]
        return io.NodeOutput(
            [critique.semantic for critique in critiques],
            [critique.quality for critique in critiques],
            [critique.reasoning for critique in critiques],
            [critique.next_prompt or edits.prompt.prompt for critique in critiques],
            [is_accepted(step, config) for step in steps],
            ui=feedback.show_text(
                feedback.warn_if_unfamiliar("thinker", thinker.chat.name, source), *_words_of(steps, config)
            ),
        )


def _words_of(steps: list[Step], config: LoopConfig) -> Iterator[str]:
    """What the node shows of its verdicts, one paragraph per edit."""
    for number, step in enumerate(steps, 1):
        critique, good = step.critique, "accepted" if is_accepted(step, config) else "not accepted"
        head = (
            f"{number}: " * (len(steps) > 1) + f"semantic {critique.semantic:g} · quality {critique.quality:g} · {good}"
        )
        yield "\n".join(
            filter(None, (head, critique.reasoning, f"Next: {critique.next_prompt}" * bool(critique.next_prompt)))
        )


def _look_for_cancel(*_: int) -> None:
    progress.stop_if_cancelled()


def accept_inputs() -> list[io.Input]:
    """The two scores that an edit must reach to be good enough."""
    score = {"optional": True, "default": ACCEPT, "min": 0.0, "max": 10.0, "step": 0.5, "round": 0.01}
    return [
        io.Float.Input(
            "accept_semantic",
            **score,
            tooltip="The lowest score that is good enough, for doing what was asked and leaving the rest alone.",
        ),
        io.Float.Input(
            "accept_quality",
            **score,
            tooltip="The lowest score that is good enough, for looking natural. Both scores must be reached.",
        ),
    ]


@contextmanager
def chat_session(thinker: Thinker | None) -> Iterator[ModelSource | None]:
    """The thinker in the form that jobs take, with its own concurrency and maximum answer length; it stops within one
    token of Cancel. None if there is no thinker. Its caches are released at the end.
    """
    if thinker is None:
        yield None
        return
    ask = chat_fn(thinker.chat, thinker.max_tokens, _look_for_cancel)
    try:
        yield ModelSource(thinker.chat.name, lambda: ask, getattr(thinker.chat, "concurrency", 1))
    finally:
        memory.release_caches(thinker)
