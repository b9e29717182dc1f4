"""The published editing benchmarks: what they ask, how they read a judge's replies, and how they sum up scores."""

from . import gedit, imgedit, kris, rise
from .core import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    row.id: row for row in (gedit.BENCHMARK, imgedit.BENCHMARK, rise.BENCHMARK, kris.BENCHMARK)
}
