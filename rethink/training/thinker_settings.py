"""The settings of thinker training, as Train Thinker and `rethink train-thinker` offer them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import RethinkError
from ..options import MAX_SEED, check_limits, option
from .thinker_rewards import PRESETS, RewardRules


@dataclass(frozen=True)
class SFTConfig:
    """How to fine-tune. `batch` counts conversations per process; `accumulate` such batches make one optimizer step."""

    epochs: float = option(1.0, "Number of passes over all conversations.", low=0.0, high=1000.0)
    minutes: float = option(
        0.0,
        "Train for this many minutes; `epochs` is then an upper limit. 0: as long as the epochs take.",
        low=0.0,
        high=10.0**6,
    )
    batch: int = option(4, "Conversations in memory at once, per process.", low=1, high=4096, advanced=True)
    accumulate: int = option(8, "Batches per optimizer step.", low=1, high=4096, advanced=True)
    learning_rate: float = option(2e-5, "Peak learning rate.", low=0.0, high=1.0, step=1e-7, advanced=True)
    warmup: float = option(
        0.1, "Share of the training over which the learning rate rises.", low=0.0, high=0.99, advanced=True
    )
    lora_rank: int = option(0, "Rank of a LoRA on the language model. 0: train it in full.", low=0, high=1024)
    train_vision: bool = option(False, "Also train the vision tower and its projector.", advanced=True)
    pack: bool = option(
        False,
        "Concatenate a batch's conversations instead of padding them: faster, for models like Qwen-VL.",
        advanced=True,
    )
    checkpointing: bool = option(True, "Recompute activations: slower, but takes far less memory.", advanced=True)
    precision: str = option("bf16", "Number format to compute in. no: fp32.", choices=("bf16", "no"), advanced=True)
    workers: int = option(2, "Processes that read images; none on Windows and macOS.", low=0, high=256)
    seed: int = option(0, "Seed for the order of conversations.", low=0, high=2**32 - 1, advanced=True)
    save_every: int = option(200, "Steps between checkpoints.", low=1, high=10**9, advanced=True)
    log_every: int = option(10, "Steps between log lines.", low=1, high=10**9)

    def __post_init__(self):
        check_limits(self)


@dataclass(frozen=True)
class GRPOConfig:
    """How to train with reinforcement learning."""

    steps: int = option(500, "Optimizer steps.", low=1, high=10**6)
    prompts: int = option(16, "Questions per step, each answered `rollouts` times.", low=1, high=4096, advanced=True)
    rollouts: int = option(
        8, "Answers per question; their rewards are compared with each other.", low=2, high=256, advanced=True
    )
    batch: int = option(
        4,
        "Answers in memory at once, per process. Lower takes less memory but more time.",
        low=1,
        high=4096,
        advanced=True,
    )
    learning_rate: float = option(2e-6, "Learning rate.", low=1e-9, high=1.0, step=1e-7, advanced=True)
    kl: float = option(
        -1.0,
        "How strongly the thinker is held to what it was (KL). -1: the value of the reward preset.",
        low=-1,
        high=10,
        step=0.001,
        advanced=True,
    )
    temperature: float = option(1.0, "Sampling temperature of the answers.", low=0.01, high=2, step=0.05, advanced=True)
    answer_tokens: int = option(1024, "Cut an answer off after this many tokens.", low=1, high=2**17, advanced=True)
    lora_rank: int = option(0, "Rank of a LoRA on the language model. 0: train it in full.", low=0, high=1024)
    train_vision: bool = option(False, "Also train the vision tower and its projector.", advanced=True)
    checkpointing: bool = option(True, "Recompute activations: slower, but takes far less memory.", advanced=True)
    precision: Literal["bf16", "no"] = option(
        "bf16", "Number format to compute in. no: fp32.", choices=("bf16", "no"), advanced=True
    )
    save_every: int = option(
        50,
        "Steps between checkpoints, each measured on the held-out tasks.",
        low=1,
        high=10**6,
        advanced=True,
    )
    log_every: int = option(1, "Steps between log lines.", low=1, high=10**6)
    hold_out: int = option(
        32,
        "Hold out up to this many tasks, on at most a fifth of the images; they decide which checkpoint is best. 0: none.",
        low=0,
        high=10**4,
        advanced=True,
    )
    turns: int = option(5, "Maximum turns of a run on a held-out task.", low=1, high=100, advanced=True)
    editor_steps: int = option(
        0,
        "Denoising steps per edit; fewer are faster. 0: the editor's default.",
        low=0,
        high=1000,
        advanced=True,
    )
    time_limit: float = option(
        600.0,
        "Seconds allowed for the edits, or the judging, of a question; what takes longer gets no reward. 0: no limit.",
        low=0,
        high=10**6,
        step=1,
        advanced=True,
    )
    vllm: Literal["off", "colocate", "server"] = option(
        "off", "Generate answers with vLLM, if it is installed: on the same GPUs, or on a server that trl started.",
        choices=("off", "colocate", "server"),
    )  # fmt: skip
    vllm_server: str = option("", "Address of that server, http://…")
    seed: int = option(0, "Seed for answers, edits and the order of questions.", low=0, high=MAX_SEED, advanced=True)
    reward: RewardRules = field(default_factory=RewardRules)

    def __post_init__(self):
        check_limits(self)
        if self.vllm != "server" and self.vllm_server:
            raise RethinkError("vllm_server: is only used with vllm server; choose that, or leave the address out.")

    @property
    def beta(self) -> float:
        return PRESETS[self.reward.preset].kl if self.kl < 0 else self.kl

    def accumulate(self, processes: int) -> int:
        """Batches per step and process. Raises RethinkError if the answers do not divide evenly."""
        answers, at_once = self.prompts * self.rollouts, self.batch * processes
        if answers % at_once:
            raise RethinkError(
                f"batch: {self.prompts} questions × {self.rollouts} answers are not a multiple of {self.batch} answers × "
                f"{processes} process(es); choose a batch that divides them."
            )
        return answers // at_once
