"""Encoders that remember, on a pipeline of one function."""

from types import SimpleNamespace

import torch

from rethink.editors.encoder_cache import MAX_ENTRIES, EncoderCache, cached_encoders


class Pipeline:
    def __init__(self):
        self.calls = []
        self.vae = SimpleNamespace(encode=lambda pixels: self.calls.append("vae") or [pixels])

    def encode_prompt(self, text, scale=1):
        self.calls.append(text)
        return [torch.full((1,), float(scale))]


def test_the_same_is_encoded_once_and_the_pipeline_is_whole_afterwards():
    pipeline, cache, results = Pipeline(), EncoderCache(), []
    method = Pipeline.encode_prompt
    with cached_encoders(pipeline, ("encode_prompt", "vae.encode"), cache, lambda *result: results.append(result)):
        first, again = pipeline.encode_prompt("a"), pipeline.encode_prompt("a")
        pipeline.encode_prompt("a", scale=2)
        pipeline.vae.encode(torch.zeros(2))
        pipeline.vae.encode(torch.zeros(2))
        pipeline.vae.encode(torch.zeros(1, 2))
    assert pipeline.calls == ["a", "a", "vae", "vae"]
    assert [path for path, _ in results] == ["encode_prompt"] * 3 + ["vae.encode"] * 3
    first.append("mine")
    assert len(again) == 1, "results are copies"
    assert "encode_prompt" not in vars(pipeline) and pipeline.encode_prompt.__func__ is method


def test_only_the_last_results_are_kept():
    cache = EncoderCache()
    for number in range(MAX_ENTRIES + 3):
        cache.get(bytes([number]), lambda number=number: [number])
    assert len(cache._results) == MAX_ENTRIES and cache.get(bytes([5]), lambda: None) == [5]
