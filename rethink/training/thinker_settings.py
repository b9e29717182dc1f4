"""How a thinker is trained: what Train Thinker and `rethink train-thinker` let their user choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import RethinkError
from ..options import MAX_SEED, check_limits, option
from .thinker_rewards import PRESETS, RewardRules


@dataclass(frozen=True)
class SFTConfig:
    """How to train. `batch` is conversations a step and process; `accumulate` such batches make one step."""

    epochs: float = option(1.0, "Times that every conversation is learned.", low=0.0, high=1000.0)
    minutes: float = option(
        0.0, "Train for so long; `epochs` is an upper bound then. 0: as long as those take.", low=0.0, high=10.0**6
    )
    batch: int = option(4, "Conversations in memory at once, of every process.", low=1, high=4096, advanced=True)
    accumulate: int = option(8, "Batches a step.", low=1, high=4096, advanced=True)
    learning_rate: float = option(
        2e-5, "Step size of the optimizer, at its highest.", low=0.0, high=1.0, step=1e-7, advanced=True
    )
    warmup: float = option(0.1, "Share of the training in which it rises.", low=0.0, high=0.99, advanced=True)
    lora_rank: int = option(0, "Rank of a LoRA on the language model; 0 trains it in full.", low=0, high=1024)
    train_vision: bool = option(False, "Train the vision tower and its projector too.", advanced=True)
    pack: bool = option(
        False,
        "Lay a batch's conversations end to end instead of padding them: faster, for models of Qwen-VL's kind.",
        advanced=True,
    )
    checkpointing: bool = option(True, "Compute activations twice: slower, and far less memory.", advanced=True)
    precision: str = option("bf16", "Of the computation.", choices=("bf16", "no"), advanced=True)
    workers: int = option(2, "Processes that read images; on Windows and macOS there are none.", low=0, high=256)
    seed: int = option(0, "Of the order of conversations.", low=0, high=2**32 - 1, advanced=True)
    save_every: int = option(200, "A checkpoint every so many steps.", low=1, high=10**9, advanced=True)
    log_every: int = option(10, "A line every so many steps.", low=1, high=10**9)

    def __post_init__(self):
        check_limits(self)


@dataclass(frozen=True)
class GRPOConfig:
    """How to train by reinforcement."""

    steps: int = option(500, "Steps of the optimizer.", low=1, high=10**6)
    prompts: int = option(16, "Questions a step, each answered `rollouts` times.", low=1, high=4096, advanced=True)
    rollouts: int = option(
        8, "Answers to every question; their rewards are compared with each other.", low=2, high=256, advanced=True
    )
    batch: int = option(
        4,
        "Answers in memory at once, of every process; slower and less memory if lower.",
        low=1,
        high=4096,
        advanced=True,
    )
    learning_rate: float = option(2e-6, "Step size of the optimizer.", low=1e-9, high=1.0, step=1e-7, advanced=True)
    kl: float = option(
        -1.0,
        "How strongly the thinker is held to what it was (KL). -1: as the preset of the reward says.",
        low=-1,
        high=10,
        step=0.001,
        advanced=True,
    )
    temperature: float = option(1.0, "Of the answers that are drawn.", low=0.01, high=2, step=0.05, advanced=True)
    answer_tokens: int = option(1024, "An answer is cut off after so many tokens.", low=1, high=2**17, advanced=True)
    lora_rank: int = option(0, "Rank of a LoRA on the language model; 0 trains it in full.", low=0, high=1024)
    train_vision: bool = option(False, "Train the vision tower too.", advanced=True)
    checkpointing: bool = option(True, "Compute activations twice: slower, and far less memory.", advanced=True)
    precision: Literal["bf16", "no"] = option("bf16", "Of the computation.", choices=("bf16", "no"), advanced=True)
    save_every: int = option(
        50,
        "A checkpoint, and a measurement on held-out tasks, every so many steps.",
        low=1,
        high=10**6,
        advanced=True,
    )
    log_every: int = option(1, "A line every so many steps.", low=1, high=10**6)
    hold_out: int = option(
        32,
        "Tasks that are not trained on, at most a fifth of all: they choose the best checkpoint. 0: none.",
        low=0,
        high=10**4,
        advanced=True,
    )
    turns: int = option(5, "Turns of a run over a held-out task.", low=1, high=100, advanced=True)
    editor_steps: int = option(
        0,
        "Denoising steps of an edit; fewer are faster. 0: the editor's default.",
        low=0,
        high=1000,
        advanced=True,
    )
    time_limit: float = option(
        600.0,
        "Seconds for the edits, or the judging, of a question; what takes longer has no reward. 0: any time.",
        low=0,
        high=10**6,
        step=1,
        advanced=True,
    )
    vllm: Literal["off", "colocate", "server"] = option(
        "off", "Draw answers with vLLM, where it is installed: on the same GPUs, or on a server that trl started.",
        choices=("off", "colocate", "server"),
    )  # fmt: skip
    vllm_server: str = option("", "Address of that server, http://…")
    seed: int = option(0, "Of answers, edits and the order of questions.", low=0, high=MAX_SEED, advanced=True)
    reward: RewardRules = field(default_factory=RewardRules)

    def __post_init__(self):
        check_limits(self)
        if self.vllm != "server" and self.vllm_server:
            raise RethinkError("vllm_server: is for --vllm server; choose that, or leave it out.")

    @property
    def beta(self) -> float:
        return PRESETS[self.reward.preset].kl if self.kl < 0 else self.kl

    def accumulate(self, processes: int) -> int:
        """Batches of every process a step. Raises RethinkError where they do not come out even."""
        answers, at_once = self.prompts * self.rollouts, self.batch * processes
        if answers % at_once:
            raise RethinkError(
                f"batch: {self.prompts} questions × {self.rollouts} answers are no multiple of {self.batch} answers × {processes} "
                "process(es); choose a batch that divides them."
            )
        return answers // at_once
