"""Parameters are checked at the door; a sequence's life."""

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.sequence import FinishReason, Sequence, SequenceStatus


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("n", value) for value in (0, 129, 1.0, True, "1")),
        *(("max_tokens", value) for value in (0, -1, None, 10.5)),
        *(("temperature", value) for value in (-0.1, float("nan"), float("inf"), "0", None, True)),
        *(("top_k", value) for value in (-1, 1.5, None)),
        *(("top_p", value) for value in (0, -0.5, 1.01, float("nan"))),
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
        n=128, temperature=0, top_p=1, min_p=1, presence_penalty=-2, frequency_penalty=2, seed=-(2**63), logprobs=20
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


def test_a_prompt_has_tokens():
    for prompt, message in [([], "empty"), ([1, -2], "-2 in the prompt is negative")]:
        with pytest.raises(ValueError, match=message):
            Sequence("r", prompt)


def test_a_seed_is_kept_or_drawn():
    assert Sequence("r", [1], SamplingParams(seed=-7)).seed == -7
    assert len({Sequence("r", [1]).seed for _ in range(50)}) == 50


EOS, STOP, MAX_LEN = 0, 9, 12


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.lists(st.sampled_from([EOS, STOP, 1, 2, 3, 4, 5]), min_size=20, max_size=20),
    st.integers(1, 10),
    st.booleans(),
    st.sampled_from([(), (STOP,), (STOP, EOS)]),
)
def test_the_first_token_that_ends_a_sequence_ends_it(prompt, tokens, max_tokens, ignore_eos, stop_token_ids):
    params = SamplingParams(max_tokens=max_tokens, ignore_eos=ignore_eos, stop_token_ids=stop_token_ids)
    sequence = Sequence("r", prompt, params)
    room = min(max_tokens, MAX_LEN - len(prompt))
    enders = [i for i, t in enumerate(tokens[:room]) if (t == EOS and not ignore_eos) or t in stop_token_ids]
    expected = enders[0] + 1 if enders else room
    for token_id in tokens:
        sequence.append_output_token(token_id)
        sequence.check_invariants()
        if sequence.check_stop(EOS, MAX_LEN):
            break
    assert sequence.output_token_ids == tokens[:expected]
    assert sequence.all_token_ids == prompt + tokens[:expected]
    assert (sequence.num_prompt_tokens, sequence.num_output_tokens) == (len(prompt), expected)
    assert sequence.num_tokens == len(prompt) + expected
    last = tokens[expected - 1]
    assert sequence.status is SequenceStatus.FINISHED
    assert sequence.finish_reason == ("stop" if enders else "length")
    assert sequence.stop_reason == (last if enders and (last != EOS or ignore_eos) else None)
    sequence.check_invariants()
    with pytest.raises(AssertionError, match="has ended"):
        sequence.append_output_token(1)


def test_the_first_reason_stands():
    sequence = Sequence("r", [1])
    sequence.finish(FinishReason.ABORT)
    sequence.finish(FinishReason.STOP, "end")
    assert (sequence.finish_reason, sequence.stop_reason) == (FinishReason.ABORT, None)
    assert FinishReason.ABORT == "abort"


@pytest.mark.parametrize(
    "change",
    [
        {"num_computed_tokens": 3},
        {"num_computed_tokens": -1},
        {"status": SequenceStatus.FINISHED},
        {"finish_reason": FinishReason.STOP},
        {"stop_reason": "x"},
        {"output_token_ids": [1] * 17},
    ],
)
def test_a_broken_invariant_is_found(change):
    sequence = Sequence("r", [1, 2])
    sequence.check_invariants()
    for name, value in change.items():
        setattr(sequence, name, value)
    with pytest.raises(AssertionError):
        sequence.check_invariants()


def test_the_module_needs_the_standard_library_only():
    code = "import sys, sysai.serving.core.sequence; assert not {'torch', 'numpy'} & set(sys.modules), 'imports more'"
    subprocess.run([sys.executable, "-c", code], check=True)
