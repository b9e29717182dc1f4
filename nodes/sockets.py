"""The types of the pack's own sockets."""

from comfy_api.latest import io

Editor = io.Custom("RETHINK_EDITOR")  # carries a rethink.editors.protocol.Editor
