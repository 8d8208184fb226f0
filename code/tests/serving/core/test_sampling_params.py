"""Sampling parameters are checked at the door, by name."""

import dataclasses

import pytest
from sysai.serving.core.sampling_params import SamplingParams


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("n", value) for value in (0, 129, 1.0, True, "1")),
        *(("max_tokens", value) for value in (0, -1, None, 10.5)),
        *(("temperature", value) for value in (-0.1, float("nan"), float("inf"), "0", None, True)),
        *(("top_k", value) for value in (-1, 1.5, None)),
        *(("top_p", value) for value in (-0.5, 1.01, float("nan"))),
        *(("min_p", value) for value in (-0.1, 1.1, float("nan"))),
        *(("presence_penalty", value) for value in (-2.1, 2.1, float("nan"))),
        *(("frequency_penalty", value) for value in (-2.1, 2.1, float("nan"))),
        *(("repetition_penalty", value) for value in (0, -1, float("inf"))),
        *(("seed", value) for value in (2**63, -(2**63) - 1, 1.0, "a")),
        *(("logprobs", value) for value in (-1, 21, True)),
        *(("stop", value) for value in ("", ["a", ""], [1], ["x"] * 17)),
        *(("stop_token_ids", value) for value in ([-1], ["a"], [True])),
        ("ignore_eos", 1),
        ("json_schema", {"type": "null"}),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, bad):
    with pytest.raises(ValueError, match=name.removesuffix("_ids").replace("stop_token", "stop token")):
        SamplingParams(**{name: bad})


def test_parameters_are_frozen_hashable_and_take_the_edges():
    params = SamplingParams(
        n=128, temperature=0, top_p=0, min_p=1, presence_penalty=-2, frequency_penalty=2, seed=-(2**63), logprobs=20
    )
    assert hash(params) == hash(dataclasses.replace(params))
    assert SamplingParams(stop="end").stop == ("end",)
    assert SamplingParams(stop=["a", "b"], stop_token_ids=[3]).stop_token_ids == (3,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.n = 2


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty", "repetition_penalty"])
def test_each_penalty_counts_as_one(name):
    assert not SamplingParams().has_penalties
    assert SamplingParams(**{name: 0.5}).has_penalties
