"""The sampler: the next token of every sequence in a batch, each by its own rules, from one matrix of logits.

A row l of logits becomes a token in this order (vLLM's):

1. A grammar's mask: tokens that it forbids get -inf.
2. Penalties. For tokens seen in prompt or output, l = l / r if l > 0 else l * r (repetition r, Keskar et al. 2019,
   arXiv 1909.05858); then for tokens of the output, l -= frequency * count + presence.
3. Temperature 0 takes the first token with the largest logit. Otherwise l = (l - max l) / temperature.
4. Filters. Tokens stand in one order: the larger logit first, among equal logits the smaller id. Each filter keeps
   the head of that order, never less than one token:
   min-p   tokens with exp(l) >= min_p * exp(max l), compared in float32 as l >= log(min_p) (Nguyen et al. 2024,
           arXiv 2407.01082);
   top-k   of what is left, the first k;
   top-p   of what is left, the fewest whose probabilities, given what is left, sum to at least p (Holtzman et al.
           2020, arXiv 1904.09751, section 3.1).
5. A draw: the first token, by id, at which the running sum of exp(l) exceeds u times its total.

The uniform number u in [0, 1) is a function of the sequence's seed, its index among `n`, and the number of tokens it
has: a counter-based generator (Philox; Salmon et al., SC 2011) has no state that others could advance. No sum
crosses rows, and sums run in order in float64, so that neither the batch, nor preemption, nor the order of sequences
changes a draw. The running sum goes by id and not by probability: logits of another batch differ in their last bits,
and where that swaps two tokens of nearly equal probability, a draw by rank would jump between them.

The log-probabilities reported are the model's own: log-softmax of the logits before step 1.

Cost: a few passes over V logits a row. Top-k and top-p add a selection of the likeliest tokens, O(V); the vocabulary
is sorted, O(V log V), only where a flat row needs more of them. Production samplers select nothing and reject what
lies beyond the boundary, on the GPU (FlashInfer).

Shapes: B rows, V vocabulary; R rows of some of the batch, C candidates.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.sequence import Sequence

INVALID_TOKEN = -1  # in place of a token, where a row's logits are no distribution
_CANDIDATES = 1024  # top-p's boundary is sought among so many, and among all if it is not there


@dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities (natural logarithm) at one position: the token taken, and the likeliest ones in order."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class SamplerOutput:
    """A token for each row, and log-probabilities for those rows that asked."""

    token_ids: list[int]
    logprobs: list[TokenLogprobs | None]


def sample(logits_BV: Tensor, sequences: list[Sequence], allowed_BV: Tensor | None = None) -> SamplerOutput:
    """Choose the next token of each sequence.

    Args:
        logits_BV: of the last position of each sequence, any floating type; not changed.
        sequences: one a row. The position that is drawn for is the number of tokens of output it has.
        allowed_BV: bool, the tokens that a grammar allows, or None.

    Returns:
        A row whose logits contain NaN or +inf, or where no token is possible, gets `INVALID_TOKEN` and no
        log-probabilities; the other rows are not affected.

    Raises:
        ValueError: shapes that do not agree.
    """
    if logits_BV.dim() != 2 or len(logits_BV) != len(sequences):
        raise ValueError(f"{len(sequences)} sequences need a row of logits each, not {tuple(logits_BV.shape)}")
    if allowed_BV is not None and allowed_BV.shape != logits_BV.shape:
        raise ValueError(f"a mask of {tuple(allowed_BV.shape)} does not fit logits of {tuple(logits_BV.shape)}")
    raw_BV = logits_BV.float()
    logits_BV = raw_BV if allowed_BV is None else raw_BV.masked_fill(~allowed_BV, -torch.inf)
    logits_BV = _penalized(logits_BV, sequences)
    max_B1 = logits_BV.amax(-1, keepdim=True)  # NaN if there is one in the row
    tokens_B = logits_BV.argmax(-1)
    drawn = [row for row, sequence in enumerate(sequences) if sequence.sampling_params.temperature > 0]
    if drawn:
        rows_R = torch.tensor(drawn, device=logits_BV.device)
        tokens_B[rows_R] = _draw(logits_BV[rows_R] - max_B1[rows_R], [sequences[row] for row in drawn])
    tokens_B = torch.where(max_B1[:, 0].isfinite(), tokens_B, INVALID_TOKEN)
    token_ids = tokens_B.tolist()
    return SamplerOutput(token_ids, _logprobs(raw_BV, sequences, token_ids))


def score(logits_TV: Tensor, token_ids: Iterable[int], count: int) -> list[TokenLogprobs]:
    """Tell how likely tokens that are given were, and the `count` likeliest ones in the place of each.

    Args:
        logits_TV: of the position before each token.
    """
    pairs = zip(logits_TV, token_ids, strict=True)  # row by row: a second matrix of the vocabulary is not needed
    return [_token_logprobs(logits_V.float().log_softmax(-1), token_id, count) for logits_V, token_id in pairs]


def uniform(seed: int, index: int, position: int) -> float:
    """Draw the number in [0, 1) that decides the token at a position of a sequence's output: 53 random bits."""
    bits = np.random.Philox(key=seed % 2**64 | index << 64, counter=position).random_raw()
    return (int(bits) >> 11) * 2.0**-53


def _column(values: list[float], like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of one value a row, [R, 1], beside `like`."""
    return torch.tensor(values, dtype=dtype, device=like.device)[:, None]


def _penalized(logits_BV: Tensor, sequences: list[Sequence]) -> Tensor:
    rows = [row for row, sequence in enumerate(sequences) if sequence.sampling_params.has_penalties]
    if not rows:
        return logits_BV
    penalized = [sequences[row] for row in rows]
    params = [sequence.sampling_params for sequence in penalized]
    logits_RV = logits_BV[rows]
    output_counts_RV = _counts([sequence.output_token_ids for sequence in penalized], logits_RV)
    prompt_counts_RV = _counts([sequence.prompt_token_ids for sequence in penalized], logits_RV)
    repetition_R1 = _column([p.repetition_penalty for p in params], logits_RV)
    scaled_RV = torch.where(logits_RV > 0, logits_RV / repetition_R1, logits_RV * repetition_R1)
    logits_RV = torch.where(output_counts_RV + prompt_counts_RV > 0, scaled_RV, logits_RV)
    logits_RV -= _column([p.frequency_penalty for p in params], logits_RV) * output_counts_RV
    logits_RV -= _column([p.presence_penalty for p in params], logits_RV) * (output_counts_RV > 0)
    penalized_BV = logits_BV.clone()
    penalized_BV[rows] = logits_RV
    return penalized_BV


def _counts(token_ids: Iterable[Iterable[int]], like_RV: Tensor) -> Tensor:
    """Count how often each token stands in each list, [R, V]."""
    counts_RV = torch.zeros_like(like_RV)
    for counts_V, ids in zip(counts_RV, token_ids, strict=True):
        where = torch.tensor(ids, dtype=torch.int64, device=like_RV.device)
        counts_V.scatter_add_(0, where, torch.ones_like(where, dtype=like_RV.dtype))
    return counts_RV


def _draw(logits_RV: Tensor, sequences: list[Sequence]) -> Tensor:
    """Draw a token of each row [R]; the largest logit of each row is 0."""
    params = [sequence.sampling_params for sequence in sequences]
    smallest = torch.finfo(torch.float32).tiny  # below it float32 rounds to 0, and 0 / 0 is no number
    logits_RV = logits_RV / _column([max(p.temperature, smallest) for p in params], logits_RV)
    if any(p.min_p for p in params):
        floor_R1 = _column([math.log(p.min_p) if p.min_p else -math.inf for p in params], logits_RV)
        logits_RV = logits_RV.masked_fill(logits_RV < floor_R1, -torch.inf)
    rows = [row for row, p in enumerate(params) if p.top_k or p.top_p < 1]
    if rows:
        logits_RV[rows] = _filtered(logits_RV[rows], [params[row] for row in rows])
    sums_RV = logits_RV.exp().cumsum(-1, dtype=torch.float64)
    draws_R1 = _column([uniform(s.seed, s.index, s.num_output_tokens) for s in sequences], logits_RV, torch.float64)
    # u is at most 1 - 2^-53, and so the product, rounded, is below the total: there is always a token.
    return torch.searchsorted(sums_RV, draws_R1 * sums_RV[:, -1:], right=True)[:, 0]


def _filtered(logits_RV: Tensor, params: list[SamplingParams]) -> Tensor:
    """Rows with top-k and then top-p: what is filtered out gets -inf.

    A row's order is that of one integer a token, which no two tokens share: so the head that a filter keeps is
    given by its last key, and equal logits need no care.
    """
    V = logits_RV.shape[-1]
    bits_RV = logits_RV.view(torch.int32)
    bits_RV = bits_RV ^ ((bits_RV >> 31) & 0x7FFFFFFF)  # floats in order as integers
    keys_RV = bits_RV.to(torch.int64) * V + torch.arange(V - 1, -1, -1, device=logits_RV.device)

    k_R1 = _column([min(p.top_k or V, V) for p in params], logits_RV, torch.int64)
    p_R1 = _column([p.top_p if p.top_p < 1 else math.inf for p in params], logits_RV, torch.float64)
    sum_R1 = logits_RV.exp().cumsum(-1, dtype=torch.float64)[:, -1:]
    for C in (min(V, max([_CANDIDATES, *(p.top_k for p in params)])), V):
        keys_RC, ids_RC = keys_RV.topk(C) if C < V else keys_RV.sort(descending=True)
        sums_RC = logits_RV.gather(-1, ids_RC).exp().cumsum(-1, dtype=torch.float64)
        # The mass that top-p shares out is that of top-k's tokens, or of all.
        mass_R1 = torch.where(k_R1 < V, sums_RC.gather(-1, k_R1.clamp(max=C) - 1), sum_R1)
        enough_RC = sums_RC >= p_R1 * mass_R1
        if bool((enough_RC[:, -1:] | (k_R1 <= C)).all()):
            break
    last_R1 = torch.where(enough_RC.any(-1, keepdim=True), enough_RC.int().argmax(-1, keepdim=True), C - 1)
    last_R1 = torch.minimum(last_R1, k_R1 - 1)
    return logits_RV.masked_fill(keys_RV < keys_RC.gather(-1, last_R1), -torch.inf)


def _logprobs(logits_BV: Tensor, sequences: list[Sequence], token_ids: list[int]) -> list[TokenLogprobs | None]:
    """Report the rows that ask and have a token; the likeliest tokens stand in the filters' order."""
    output: list[TokenLogprobs | None] = [None] * len(sequences)
    for row, (sequence, token_id) in enumerate(zip(sequences, token_ids, strict=True)):
        count = sequence.sampling_params.logprobs
        if count is None or token_id == INVALID_TOKEN:
            continue
        logprobs_V = logits_BV[row].log_softmax(-1)
        output[row] = _token_logprobs(logprobs_V, token_id, count)
    return output


def _token_logprobs(logprobs_V: Tensor, token_id: int, count: int) -> TokenLogprobs:
    top = _likeliest(logprobs_V, min(count, len(logprobs_V)))
    return TokenLogprobs(token_id, float(logprobs_V[token_id]), top)


def _likeliest(logprobs_V: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    if count == 0:
        return ()
    least = logprobs_V.topk(count).values[-1]
    ids = (logprobs_V >= least).nonzero()[:, 0]  # ties may make them more than `count`
    pairs = zip(ids.tolist(), logprobs_V[ids].tolist(), strict=True)
    return tuple(sorted(pairs, key=lambda pair: -pair[1])[:count])
