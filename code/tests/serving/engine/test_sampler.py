"""The sampler against its definition, written out in float64 a token at a time; its draws; what they depend on."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.sequence import Sequence
from sysai.serving.engine.sampler import INVALID_TOKEN, sample, uniform


class UnclearError(Exception):
    """A comparison of the reference is so near that float32 may decide otherwise."""


def above(x, y):
    if x != y and abs(x - y) < 1e-5 * max(1.0, abs(x), abs(y)):
        raise UnclearError
    return x >= y


def reference_logits(logits, sequence, allowed):
    params, made, given_ = sequence.sampling_params, Counter(sequence.output_token_ids), set(sequence.prompt_token_ids)
    result = []
    for token, logit in enumerate(logits):
        if token in made or token in given_:
            repetition = params.repetition_penalty
            logit = logit / repetition if logit > 0 else logit * repetition
        logit -= params.frequency_penalty * made[token] + params.presence_penalty * (token in made)
        result.append(logit if allowed[token] else -math.inf)
    return result


def reference_weights(logits, params):
    """Unnormalized probabilities {token: weight}, filters applied."""
    largest = max(logits)
    weights = {i: math.exp((x - largest) / params.temperature) for i, x in enumerate(logits) if x > -math.inf}
    order = sorted(weights, key=lambda i: (-logits[i], i))
    if params.min_p:
        order = [i for i in order if above((logits[i] - largest) / params.temperature, math.log(params.min_p))]
    if params.top_k:
        order = order[: params.top_k]
    if params.top_p < 1:
        aim, count = params.top_p * math.fsum(weights[i] for i in order), 1
        while not above(math.fsum(weights[i] for i in order[:count]), aim):
            count += 1
        order = order[:count]
    return {i: weights[i] for i in sorted(order)}


def reference_token(logits, sequence, allowed):
    logits = reference_logits(logits, sequence, allowed)
    params = sequence.sampling_params
    if params.temperature == 0:
        return logits.index(max(logits))
    weights = reference_weights(logits, params)
    aim = uniform(sequence.seed, sequence.index, sequence.num_output_tokens) * math.fsum(weights.values())
    total = 0.0
    for token, weight in weights.items():
        total += weight
        if above(total, aim):
            return token
    raise AssertionError


FILTERS = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.25, 0.7, 1.0, 2.0]),
        "top_k": st.sampled_from([0, 1, 2, 5, 1000]),
        "top_p": st.sampled_from([1.0, 0.95, 0.5, 0.25, 0.01]),
        "min_p": st.sampled_from([0.0, 0.02, 0.3, 1.0]),
        "presence_penalty": st.sampled_from([0.0, 0.0, 1.5, -0.5]),
        "frequency_penalty": st.sampled_from([0.0, 0.0, 0.25]),
        "repetition_penalty": st.sampled_from([1.0, 1.0, 1.25, 0.5]),
    }
)
LOGIT = st.one_of(st.integers(-3, 3).map(float), st.floats(-8, 8, width=32))  # whole ones make ties


@st.composite
def rows(draw, V):
    params = SamplingParams(**draw(FILTERS), seed=draw(st.integers(-(2**63), 2**63 - 1)), max_tokens=100)
    token = st.integers(0, V - 1)
    sequence = Sequence("r", draw(st.lists(token, min_size=1, max_size=4)), params, index=draw(st.integers(0, 3)))
    sequence.output_token_ids = draw(st.lists(token, max_size=6))
    allowed = draw(st.lists(st.booleans(), min_size=V, max_size=V).filter(any))
    return draw(st.lists(LOGIT, min_size=V, max_size=V)), sequence, allowed


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12).flatmap(lambda V: st.lists(rows(V), min_size=1, max_size=5)))
def test_equals_the_definition_in_float64(batch):
    try:
        expected = [reference_token(*row) for row in batch]
    except UnclearError:
        assume(False)
    logits, sequences, allowed = zip(*batch, strict=True)
    got = sample(torch.tensor(logits, dtype=torch.float32), sequences, torch.tensor(allowed))
    assert got.token_ids == expected


def sequences_with(params, count):
    return [Sequence(str(i), [0], SamplingParams(**params, seed=i)) for i in range(count)]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 1.8, "top_k": 7},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"temperature": 1.3, "top_k": 9, "top_p": 0.9, "min_p": 0.02},
    ],
)
def test_frequencies_of_draws_are_the_probabilities(params):
    logits = torch.randn(16, generator=torch.Generator().manual_seed(0)) * 1.5
    count = 12_000
    tokens = sample(logits.expand(count, -1), sequences_with(params, count)).token_ids
    weights = reference_weights(logits.double().tolist(), SamplingParams(**params))
    assert set(tokens) <= set(weights)
    expected = np.array(list(weights.values())) / sum(weights.values()) * count
    seen = [tokens.count(token) for token in weights]
    assert stats.chisquare(seen, expected).pvalue > 1e-3
    # The test has power: the same counts do not fit a distribution that is warmer by 30%.
    warmer = np.array([w ** (1 / 1.3) for w in weights.values()])
    assert stats.chisquare(seen, warmer / warmer.sum() * count).pvalue < 1e-6


@pytest.mark.parametrize(
    "argument", [lambda i: (i, 0, 0), lambda i: (7, i, 0), lambda i: (7, 0, i), lambda i: (-i, 1, i)]
)
def test_uniform_numbers_are_uniform_in_each_argument_and_not_correlated(argument):
    numbers = np.array([uniform(*argument(i)) for i in range(5000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert len(set(numbers)) == len(numbers)
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.05


def varied_sequences(count):
    kinds = [
        {"temperature": 0.0},
        {"top_p": 0.9},
        {"top_k": 40, "logprobs": 2},
        {"min_p": 0.05, "repetition_penalty": 1.2},
        {"top_p": 0.999, "temperature": 2.0},
        {"presence_penalty": 1.0, "top_k": 3, "top_p": 0.7},
    ]
    made = []
    for i in range(count):
        sequence = Sequence(str(i), [1, 2, 3], SamplingParams(**kinds[i % len(kinds)], seed=i * i), index=i % 2)
        sequence.output_token_ids = list(range(i))
        made.append(sequence)
    return made


@pytest.mark.parametrize("V", [1001, 4096])
def test_a_row_does_not_depend_on_the_others(V):
    generator = torch.Generator().manual_seed(V)
    sequences = varied_sequences(24)
    logits_BV = torch.randn(24, V, generator=generator) * 3
    whole = sample(logits_BV, sequences)
    for size in (1, 2, 7, 23):
        rows = torch.randperm(24, generator=generator)[:size].tolist()
        part = sample(logits_BV[rows], [sequences[row] for row in rows])
        assert part.token_ids == [whole.token_ids[row] for row in rows]
        assert part.logprobs == [whole.logprobs[row] for row in rows]


def test_draws_survive_logits_that_differ_in_the_last_bits():
    # Two tokens share the mass: whichever is ahead by a rounding error, the draw stays.
    tokens = [
        sample(torch.tensor([[1.0, x, y]]).expand(500, -1), sequences_with({"top_p": 0.95}, 500)).token_ids
        for x, y in [(5.0, 5.000001), (5.000001, 5.0)]
    ]
    assert sum(a != b for a, b in zip(*tokens, strict=True)) <= 1
    assert {1, 2} <= set(tokens[0])


def test_positions_seeds_and_indices_give_different_draws():
    logits_BV = torch.zeros(64, 1000)
    moved = [Sequence("r", [0], SamplingParams(seed=3, max_tokens=64)) for _ in range(64)]
    for count, sequence in enumerate(moved):
        sequence.output_token_ids = [0] * count
    children = [Sequence("r", [0], SamplingParams(seed=3, n=64), index=i) for i in range(64)]
    unseeded = [Sequence("r", [0], SamplingParams()) for _ in range(64)]
    for sequences in (moved, children, sequences_with({}, 64), unseeded):
        assert len(set(sample(logits_BV, sequences).token_ids)) > 50


@pytest.mark.parametrize("draw", [0.0, 2.0**-53, 1 - 2.0**-53])
def test_the_ends_of_the_draw_take_possible_tokens(monkeypatch, draw):
    monkeypatch.setattr("sysai.serving.engine.sampler.uniform", lambda *_: draw)
    logits = torch.tensor([[-torch.inf, 1.0, -200.0, 2.0, -torch.inf, -torch.inf]])
    for params in ({}, {"top_k": 2}, {"top_p": 0.9}, {"min_p": 0.1}):
        assert sample(logits, sequences_with(params, 1)).token_ids == [1 if draw < 0.5 else 3]


def test_penalties_by_hand():
    def first(logits, prompt, output, **penalties):
        sequence = Sequence("r", prompt, SamplingParams(temperature=0.0, **penalties))
        sequence.output_token_ids = output
        return sample(torch.tensor([logits]), [sequence]).token_ids[0]

    for prompt, output in ([[0], []], [[2], [0]]):  # a repetition counts in the prompt and in the output
        assert first([2.0, 1.7, -9.0], prompt, output, repetition_penalty=1.25) == 1  # 2 / 1.25 = 1.6
        assert first([2.0, 1.5, -9.0], prompt, output, repetition_penalty=1.25) == 0
        assert first([-1.0, -1.2, -9.0], prompt, output, repetition_penalty=1.25) == 1  # -1 * 1.25 = -1.25
    for penalty in ("presence_penalty", "frequency_penalty"):
        assert first([2.0, 1.7], [0], [], **{penalty: 0.5}) == 0  # not in the prompt
        assert first([2.0, 1.7], [1], [0], **{penalty: 0.5}) == 1
    assert first([2.0, 1.2], [1], [0, 0], presence_penalty=0.5) == 0
    assert first([2.0, 1.2], [1], [0, 0], frequency_penalty=0.5) == 1


def test_ties_go_to_the_smaller_id():
    logits = torch.tensor([[0.0, 2.0, 2.0, -1.0, 2.0, -0.0]])
    kept = {
        frozenset(sample(logits.expand(400, -1), sequences_with(params, 400)).token_ids): params
        for params in ({"top_k": 2}, {"top_k": 4}, {"top_p": 0.6}, {"temperature": 0.0}, {"min_p": 1.0})
    }
    # exp(2) / (3 exp(2) + 2 + exp(-1)) is 0.30, so that two of the three tied tokens make 0.6.
    assert set(kept) == {frozenset({1, 2}), frozenset({0, 1, 2, 4}), frozenset({1}), frozenset({1, 2, 4})}
    assert kept[frozenset({1, 2})] == {"top_p": 0.6}


def test_top_p_is_exact_on_a_uniform_row():
    for V, p, expected in [(10, 0.9, 9), (4, 0.5, 2), (1000, 0.3, 300), (3000, 0.5, 1500)]:
        tokens = sample(torch.zeros(1, V).expand(600, -1), sequences_with({"top_p": p}, 600)).token_ids
        assert 0.97 * expected < max(tokens) + 1 <= expected


def test_top_p_whose_tokens_are_many_equals_the_definition():
    V, count = 3000, 40  # a flat row: 0.9 of the mass needs far more tokens than the search begins with
    logits = torch.randn(count, V, generator=torch.Generator().manual_seed(1)) / 2
    sequences = sequences_with({"top_p": 0.9}, count)
    clear = 0
    for got, row, sequence in zip(
        sample(logits, sequences).token_ids, logits.double().tolist(), sequences, strict=True
    ):
        kept = reference_weights_of_many(row, 0.9)
        assert kept.count_nonzero() > 2000
        draw = uniform(sequence.seed, 0, 0) * kept.sum()
        sums = kept.cumsum(0)
        expected = int((sums > draw).int().argmax())
        if (sums - draw).abs().min() > 1e-3:
            clear += 1
            assert got == expected
    assert clear > count / 2


def reference_weights_of_many(row, p):
    """Weights by id, 0 where top-p takes the token out."""
    weights = torch.tensor(row, dtype=torch.float64).exp()
    order = weights.argsort(descending=True, stable=True)
    head = int((weights[order].cumsum(0) >= p * weights.sum()).int().argmax()) + 1
    weights[order[head:]] = 0
    return weights


def test_a_row_that_is_no_distribution_is_reported_and_harms_no_other():
    good = torch.randn(5)
    bad = [torch.full((5,), math.nan), good.clone(), torch.full((5,), -math.inf), good.clone()]
    bad[1][3], bad[3][2] = math.nan, math.inf
    for temperature in (0.0, 1.0):
        params = {"temperature": temperature, "top_p": 0.9, "top_k": 4, "logprobs": 1}
        sequences = sequences_with(params, 6)
        output = sample(torch.stack([good, *bad, good]), sequences)
        alone = sample(good[None], sequences[:1])
        assert output.token_ids[0] == alone.token_ids[0]
        assert output.token_ids[1:5] == [INVALID_TOKEN] * 4
        assert output.token_ids[5] != INVALID_TOKEN
        assert output.logprobs[:5] == [*alone.logprobs, None, None, None, None]
    nothing_allowed = sample(good[None], sequences_with({}, 1), torch.zeros(1, 5, dtype=torch.bool))
    assert nothing_allowed.token_ids == [INVALID_TOKEN]


def test_logprobs_are_the_models_own_and_in_order():
    logits = torch.tensor([[1.0, 3.0, 3.0, 0.0]])
    sequence = Sequence("r", [1], SamplingParams(temperature=0.3, top_k=1, repetition_penalty=9.0, logprobs=3))
    allowed = torch.tensor([[True, False, False, True]])
    (got,) = sample(logits, [sequence], allowed).logprobs
    expected = logits.double().log_softmax(-1)[0].tolist()
    assert got.token_id == 0
    assert got.logprob == pytest.approx(expected[0], rel=1e-6)
    assert [token for token, _ in got.top] == [1, 2, 0]
    assert [logprob for _, logprob in got.top] == pytest.approx([expected[i] for i in (1, 2, 0)], rel=1e-6)
    (none,) = sample(logits, [Sequence("r", [1], SamplingParams(temperature=0.0, logprobs=0))]).logprobs
    assert none.top == ()
    (every,) = sample(logits, [Sequence("r", [1], SamplingParams(temperature=0.0, logprobs=20))]).logprobs
    assert [token for token, _ in every.top] == [1, 2, 0, 3]


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-45, 5e-324])
def test_a_tiny_temperature_is_greedy_and_no_overflow(temperature):
    logits = torch.tensor([[-3e38, 5.0, 4.0, 3e38]])
    assert sample(logits, sequences_with({"temperature": temperature, "top_p": 0.9}, 1)).token_ids == [3]


def test_logits_are_not_changed_and_may_be_of_half_precision():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        logits = torch.randn(6, 50).to(dtype)
        before = logits.clone()
        assert INVALID_TOKEN not in sample(logits, varied_sequences(6)).token_ids
        assert torch.equal(logits, before)


def test_shapes_that_do_not_agree_are_refused():
    sequence = Sequence("r", [0])
    with pytest.raises(ValueError, match="2 sequences need a row"):
        sample(torch.zeros(1, 4), [sequence, sequence])
    with pytest.raises(ValueError, match="does not fit"):
        sample(torch.zeros(1, 4), [sequence], torch.ones(4, dtype=torch.bool))
