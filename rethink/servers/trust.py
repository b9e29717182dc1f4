"""Which servers may be sent images and keys: the owner of this machine decides, in a settings file. No workflow can.

    {"hosts": ["https://api.openai.com", "http://192.168.1.5:8000"], "keys": {"MY_KEY": ["https://llm.example.com"]}}

hosts: where images may be sent. keys: names of environment variables, each with the addresses that its key may be sent
to, along with images. An address is scheme, host and port; a host alone means https.
"""

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..atomic import atomic_write
from ..errors import RethinkError, reason_of
from .address import Origin, parse_origin

VARIABLE = "RETHINK_SERVERS"  # names another settings file
SETTINGS_FILE = "servers.json"

# The variables named in providers' own manuals, and the hosts that they are for.
_GOOGLE, _QWEN = ("generativelanguage.googleapis.com",), ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com")
_HUGGING_FACE, _MOONSHOT = ("router.huggingface.co",), ("api.moonshot.ai", "api.moonshot.cn")
PROVIDERS = {
    "OPENAI_API_KEY": ("api.openai.com", "eu.api.openai.com", "us.api.openai.com"),
    "GEMINI_API_KEY": _GOOGLE,
    "GOOGLE_API_KEY": _GOOGLE,
    "OPENROUTER_API_KEY": ("openrouter.ai",),
    "ANTHROPIC_API_KEY": ("api.anthropic.com",),
    "MISTRAL_API_KEY": ("api.mistral.ai",),
    "GROQ_API_KEY": ("api.groq.com",),
    "TOGETHER_API_KEY": ("api.together.xyz", "api.together.ai"),
    "FIREWORKS_API_KEY": ("api.fireworks.ai",),
    "DEEPINFRA_API_KEY": ("api.deepinfra.com",),
    "DEEPSEEK_API_KEY": ("api.deepseek.com",),
    "DASHSCOPE_API_KEY": _QWEN,
    "MOONSHOT_API_KEY": _MOONSHOT,
    "ZHIPUAI_API_KEY": ("open.bigmodel.cn",),
    "SILICONFLOW_API_KEY": ("api.siliconflow.cn", "api.siliconflow.com"),
    "XAI_API_KEY": ("api.x.ai",),
    "NVIDIA_API_KEY": ("integrate.api.nvidia.com",),
    "CEREBRAS_API_KEY": ("api.cerebras.ai",),
    "PERPLEXITY_API_KEY": ("api.perplexity.ai",),
    "HF_TOKEN": _HUGGING_FACE,
    "HUGGINGFACE_API_KEY": _HUGGING_FACE,
}
_writing = threading.Lock()


@dataclass(frozen=True)
class Trust:
    """What the owner of this machine allows, and the file where more can be allowed."""

    file: Path
    hosts: frozenset[Origin] = frozenset()
    pairs: frozenset[tuple[str, Origin]] = frozenset()  # (name of a variable, where its key may be sent)

    def allows_images(self, origin: Origin) -> bool:
        return origin.is_local or origin in self.hosts or any(origin == paired for _, paired in self.pairs)

    def allows_key(self, variable: str, origin: Origin) -> bool:
        providers = {Origin("https", host, 443) for host in PROVIDERS.get(variable, ())}
        return origin in providers or (variable, origin) in self.pairs

    def with_host(self, origin: Origin) -> "Trust":
        return replace(self, hosts=self.hosts | {origin})

    def with_pair(self, variable: str, origin: Origin) -> "Trust":
        return replace(self, pairs=self.pairs | {(variable, origin)})

    def check_images(self, origin: Origin) -> None:
        """Raise RethinkError, with the line to add, if no images may be sent."""
        if not self.allows_images(origin):
            raise RethinkError(
                f"base_url: {origin} is not this machine, and the owner of this machine has not allowed sending images "
                f"there. If that is you and you trust it, add {json.dumps({'hosts': [str(origin)]})} to {self.file}."
            )

    def check_key(self, variable: str, origin: Origin) -> None:
        """Raise RethinkError, with the line to add, if the key in a variable may not be sent."""
        if not self.allows_key(variable, origin):
            raise RethinkError(
                f"key_variable: {variable} is not paired with {origin}, so its key is not sent there. If you trust it with "
                f"that key, add {json.dumps({'keys': {variable: [str(origin)]}})} to {self.file}."
            )


def settings_file(default: Path | None = None) -> Path:
    """The path of the owner's settings: RETHINK_SERVERS, else `default`, else in the user's config folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    config = os.environ.get("APPDATA") or os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return default or Path(config) / "rethink" / SETTINGS_FILE


def read_trust(file: Path | None = None) -> Trust:
    """What the owner allows, from the settings file. Raises RethinkError if it cannot be read."""
    file = file or settings_file()
    record = _read(file)
    try:
        hosts = frozenset(map(parse_origin, _texts(record.get("hosts", []))))
        keys = record.get("keys", {}).items()
        pairs = frozenset((name, parse_origin(text)) for name, texts in keys for text in _texts(texts))
    except (ValueError, AttributeError, TypeError) as error:
        example = '{"hosts": ["https://api.openai.com"], "keys": {"MY_KEY": ["https://llm.example.com"]}}'
        raise RethinkError(f"{file}: {error}; expected, for example, {example}") from error
    return Trust(file, hosts, pairs)


def trust_command_line(origin: Origin, variable: str) -> Trust:
    """What the owner allows, plus what they have just typed themselves: a server, and which key it gets."""
    trust = read_trust().with_host(origin)
    return trust.with_pair(variable.strip(), origin) if variable.strip() else trust


def allow_images(file: Path, origin: Origin) -> None:
    """Record in the owner's settings that images may be sent to a server."""
    with _writing:
        record = _read(file)
        hosts = list(_texts(record.get("hosts", [])))
        if str(origin) in hosts:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as passing:
                text = json.dumps({**record, "hosts": [*hosts, str(origin)]}, indent=2, ensure_ascii=False)
                passing.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise RethinkError(f"{file}: cannot be written: {reason_of(error)}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RethinkError(f"{file}: cannot be read: {reason_of(error)}") from error
    if not isinstance(record, dict):
        raise RethinkError(f'{file}: contains no settings; expected {{"hosts": […], "keys": {{…}}}}.')
    return record


def _texts(value: Any) -> Iterable[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{json.dumps(value)[:80]} is not a list of addresses")
    return texts
