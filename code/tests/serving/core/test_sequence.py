"""A sequence's life: which token ends it, and what holds on the way."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.sequence import FinishReason, Sequence, SequenceStatus


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
