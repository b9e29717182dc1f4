"""The types of the pack's own sockets."""

from comfy_api.latest import io

Editor = io.Custom("RETHINK_EDITOR")  # carries a rethink.editors.protocol.Editor
Pairs = io.Custom("RETHINK_PAIRS")  # carries a rethink.pairs.store.PairStore, often narrowed to what a node made or kept
Thinker = io.Custom("RETHINK_THINKER")  # carries a rethink.thinkers.protocol.Chat
