"""Solvers by name: each is a diffusers scheduler made from the configuration of the model's model_scheduler."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import RethinkError, lazy_import


@dataclass(frozen=True)
class Sampler:
    """scheduler: the diffusers class; options: what to set in addition to the model's own configuration;
    supports_sample_prediction: whether it works with models that predict the clean sample."""

    scheduler: str
    options: dict[str, Any] = field(default_factory=dict)
    supports_sample_prediction: bool = True


# "default" is the scheduler that came with the model, unchanged.
SAMPLERS: dict[str, Sampler | None] = {
    "default": None,
    "ddim": Sampler("DDIMScheduler"),
    "euler": Sampler("EulerDiscreteScheduler"),
    "euler_ancestral": Sampler("EulerAncestralDiscreteScheduler", supports_sample_prediction=False),
    "dpmpp_2m": Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_sde": Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": Sampler("UniPCMultistepScheduler"),
}

# For all of them: even few steps must start at full noise and end at none (arXiv 2305.08891, section 3.3).
_ENDS = {"timestep_spacing": "trailing", "final_sigmas_type": "zero", "set_alpha_to_one": True}

_PREDICTIONS = ("epsilon", "v_prediction", "sample")


class Schedule:
    """One run of a solver: its timesteps, its noise levels, and the steps it takes.

    name: a key of SAMPLERS; model_scheduler: the model's scheduler, left untouched; steps: how many.
    Raises RethinkError for an unknown sampler and for more steps than the model was trained with.
    """

    def __init__(self, name: str, model_scheduler: Any, steps: int):
        if name not in SAMPLERS:
            raise RethinkError(f"sampler: “{name}” is unknown; choose one of {', '.join(SAMPLERS)}.")
        if steps > model_scheduler.config.num_train_timesteps:
            raise RethinkError(
                f"steps: this model takes at most {model_scheduler.config.num_train_timesteps}, got {steps}."
            )
        self._model_predicts = getattr(model_scheduler.config, "prediction_type", "epsilon")
        if self._model_predicts not in _PREDICTIONS:
            raise RethinkError(f"editor: models with prediction type “{self._model_predicts}” are not supported.")
        self._solver = _make_solver(SAMPLERS[name], model_scheduler, self._model_predicts)
        self._solver.set_timesteps(steps)
        self.steps = steps
        self.timesteps: Tensor = self._solver.timesteps  # on the CPU, so that no step waits for the GPU
        self._step_options = inspect.signature(self._solver.step).parameters.keys() & {"generator"}

    def init_latents(self, noise: Tensor, source: Tensor | None = None, strength: float = 1.0) -> tuple[Tensor, int]:
        """The first latents [rows, c, h, w] and the index of the timestep that they are at.

        Without `source`: pure noise. With it: the source, noised so that `strength` of the steps remain (SDEdit).
        """
        first = 0
        if source is not None:
            remaining = max(1, min(self.steps, int(self.steps * strength)))
            first = (self.steps - remaining) * self._solver.order
        if hasattr(self._solver, "set_begin_index"):
            self._solver.set_begin_index(first)
        if source is None:
            return noise * self._solver.init_noise_sigma, first
        return self.add_noise(source, noise, first), first

    def add_noise(self, clean: Tensor, noise: Tensor, index: int) -> Tensor:
        """`clean` latents noised to the timestep `index`; past the last one they are clean."""
        if index >= len(self.timesteps):
            return clean
        return self._solver.add_noise(clean, noise, self.timesteps[index : index + 1])

    def model_input(self, latents: Tensor, index: int) -> Tensor:
        """The latents as the model's input at the timestep `index`: at unit variance."""
        return self._solver.scale_model_input(latents, self.timesteps[index])

    def predict_x0(self, output: Tensor, model_input: Tensor, index: int) -> Tensor:
        """The clean latents that the model's output predicts (as DDPM and progressive distillation define it)."""
        signal, noise = self.alpha_sigma(index)
        if self._model_predicts == "sample":
            return output
        if self._model_predicts == "v_prediction":
            return signal * model_input - noise * output
        return (model_input - noise * output) / max(signal, 1e-4)  # at zero signal, the noise carries no information

    def step(
        self, output: Tensor, model_input: Tensor, latents: Tensor, index: int, generators: list[torch.Generator]
    ) -> Tensor:
        """The latents at the next timestep. Solvers that add fresh noise take row r's from `generators[r]`."""
        if self._solver.config.prediction_type != self._model_predicts:
            signal, noise = self.alpha_sigma(index)
            output = (signal * model_input - output) / noise
        options = {"generator": generators} if self._step_options else {}
        return self._solver.step(output, self.timesteps[index], latents, return_dict=False, **options)[0]

    @property
    def stochastic(self) -> bool:
        """Whether every step adds fresh noise, as much as DDPM's posterior has."""
        return "Ancestral" in type(self._solver).__name__ or "sde" in self._solver.config.get("algorithm_type", "")

    def alpha_sigma(self, index: int) -> tuple[float, float]:
        """(α, σ) at the timestep `index`: the model sees α · clean + σ · noise, with α² + σ² = 1."""
        if hasattr(self._solver, "sigmas"):  # here they are σ / α
            signal_power = 1 / (1 + float(self._solver.sigmas[index]) ** 2)
        else:
            signal_power = float(self._solver.alphas_cumprod[int(self.timesteps[index])])
        return signal_power**0.5, (1 - signal_power) ** 0.5


def make_scheduler(name: str, model_scheduler: Any) -> Any:
    """The solver `name` for a diffusers pipeline whose own solver is `model_scheduler`; "default" is that one itself.

    Raises RethinkError for models that only work with their own solver: rectified flows and EDM models.
    """
    if name not in SAMPLERS:
        raise RethinkError(f"sampler: “{name}” is unknown; choose one of {', '.join(SAMPLERS)}.")
    if SAMPLERS[name] is None:
        return model_scheduler
    predicts = model_scheduler.config.get("prediction_type", "flow_prediction")
    if predicts not in ("epsilon", "v_prediction") or "sigma_data" in model_scheduler.config:
        raise RethinkError(f"sampler: this model only works with its own solver, not with “{name}”; choose default.")
    return _make_solver(SAMPLERS[name], model_scheduler, predicts)


def _make_solver(sampler: Sampler | None, model_scheduler: Any, model_predicts: str) -> Any:
    if sampler is None:
        return type(model_scheduler).from_config(model_scheduler.config)
    scheduler = getattr(lazy_import("diffusers"), sampler.scheduler)
    known = inspect.signature(scheduler.__init__).parameters
    options = {name: value for name, value in _ENDS.items() if name in known} | sampler.options
    if model_predicts == "sample" and not sampler.supports_sample_prediction:
        options["prediction_type"] = "v_prediction"  # Schedule.step converts
    return scheduler.from_config(model_scheduler.config, **options)
