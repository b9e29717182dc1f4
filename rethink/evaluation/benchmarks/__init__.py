"""The published benchmarks of editing: what they ask, how their scripts read a judge's replies, and what they make of the scores."""

from . import gedit, imgedit, kris, rise
from .core import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    row.id: row for row in (gedit.BENCHMARK, imgedit.BENCHMARK, rise.BENCHMARK, kris.BENCHMARK)
}
