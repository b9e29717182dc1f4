"""What an edit was really made with, where people leave settings to the editor."""

from __future__ import annotations

from typing import Any

from .protocol import Settings


def used_settings(editor: Any, settings: Settings) -> dict[str, Any]:
    """The name of the editor and the settings that it uses, by name; what plays no part in its work is left out.

    randomize_guidance, where it is on: every row draws its guidances around these, from its seed.
    """
    defaults = editor.defaults
    full = settings.resolved(defaults)
    used = {"editor": editor.name, "steps": full.steps, "text_guidance": full.text_guidance}
    if editor.family.guides_by_image:
        used["image_guidance"] = full.image_guidance
    if defaults.strength:
        used["strength"] = full.strength
    own = ("sampler", "negative", "randomize_guidance")
    return used | {name: getattr(full, name) for name in own if getattr(full, name) != getattr(Settings, name)}


def summarize(used: dict[str, Any]) -> str:
    """`used_settings` as a line for people: “20 steps · text guidance 7.5 · image guidance 1.5”."""
    spread = " ± 20 % by seed" if used.get("randomize_guidance") else ""
    parts = [f"{used['steps']} steps"]
    parts += [
        f"{name.replace('_', ' ')} {used[name]:g}{spread}"
        for name in ("text_guidance", "image_guidance")
        if name in used
    ]
    parts += [f"{name} {used[name]}" for name in ("strength", "sampler") if name in used]
    return " · ".join(parts)
