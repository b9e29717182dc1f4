"""The types of the pack's own sockets."""

from comfy_api.latest import io

Editor = io.Custom("RETHINK_EDITOR")  # carries a rethink.editors.protocol.Editor
Thinker = io.Custom("RETHINK_THINKER")  # carries a rethink.thinkers.critique.Thinker
Trajectory = io.Custom("RETHINK_TRAJECTORY")  # carries a rethink.trajectory.Trajectory
Loop = io.Custom("RETHINK_LOOP")  # carries a think_loop.State
Pairs = io.Custom(
    "RETHINK_PAIRS"
)  # carries a rethink.pairs.store.PairStore, often narrowed to what a node made or kept
