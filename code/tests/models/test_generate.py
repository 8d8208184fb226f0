import pytest
import torch
from sysai.models.config import ModelConfig
from sysai.models.generate import choose, generate, stream
from sysai.models.transformer import Transformer

TINY = ModelConfig("tiny", 50, 24, 2, 4, 2, 8, 32, max_positions=16)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Transformer(TINY)


def test_greedy_tokens_equal_those_without_a_cache(model):
    tokens = [3, 1, 4]
    with torch.inference_mode():
        for _ in range(10):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert generate(model, tokens[:3], 10).tokens == tokens[3:]


def test_times_are_one_prefill_and_one_decode_a_further_token(model):
    result = generate(model, [1, 2, 3], 5)
    assert len(result.tokens) == 5
    assert len(result.decode_seconds) == 4
    assert result.prefill_seconds > 0
    assert result.decode_tokens_per_second == pytest.approx(4 / sum(result.decode_seconds))
    assert generate(model, [1], 1).decode_tokens_per_second == 0


def test_stream_yields_the_same_tokens_one_by_one(model):
    steps = stream(model, [1, 2, 3], 5)
    first = next(steps)
    assert [first.token, *(step.token for step in steps)] == generate(model, [1, 2, 3], 5).tokens


def test_generation_ends_with_a_stop_token(model):
    tokens = generate(model, [1, 2, 3], 8).tokens
    stop = tokens[3]
    assert generate(model, [1, 2, 3], 8, stop_ids=[stop]).tokens == tokens[: tokens.index(stop) + 1]


def test_a_seed_repeats_a_sample_and_another_changes_it(model):
    first, again, other = (generate(model, [1], 12, temperature=2.0, seed=s).tokens for s in (1, 1, 2))
    assert first == again != other
    unseeded = {tuple(generate(model, [1], 12, temperature=2.0).tokens) for _ in range(3)}
    assert len(unseeded) > 1


def test_sampling_follows_the_distribution():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(20_000, 3)
    tokens = choose(logits, 0.5, torch.Generator().manual_seed(0))
    frequency = tokens.flatten().bincount(minlength=3) / 20_000
    torch.testing.assert_close(frequency, (logits[0] / 0.5).softmax(-1), atol=0.01, rtol=0)
    assert set(choose(logits, 0.0).flatten().tolist()) == {2}


@pytest.mark.parametrize(
    ("prompt", "new", "temperature", "message"),
    [
        ([], 4, 0.0, "prompt is empty"),
        ([1] * 13, 4, 0.0, "13 tokens and 4 new ones exceed the 16 positions of tiny: shorten"),
        ([1, 50], 4, 0.0, "0 to 49"),
        ([-1], 4, 0.0, "0 to 49"),
        ([1], 0, 0.0, "max_new_tokens 0"),
        ([1], 4, -1.0, "temperature -1.0"),
    ],
)
def test_bad_input_is_one_clear_line(model, prompt, new, temperature, message):
    with pytest.raises(ValueError, match=message) as error:
        stream(model, prompt, new, temperature=temperature)  # at once, not at the first step
    assert "\n" not in str(error.value)
