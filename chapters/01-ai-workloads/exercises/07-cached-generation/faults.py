"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "heads_modulo",
        "Gives query head h the key-value head h mod G instead of h // (H / G).",
        told="These are the logits of a model in which query head h uses",
        edits=[
            (
                '"""Return (n_new tokens, logits [n_new, V]); the largest logit wins."""',
                '"""Return (n_new tokens, logits [n_new, V] from which each was chosen, the largest wins)."""',
            ),
            (
                '"""Pass tokens through all layers; the last one\'s vector, [1, D]."""',
                '"""Pass tokens through all layers, behind those in the cache; the last position\'s vector, [1, D]."""',
            ),
            (
                """\
                k_GSK = torch.cat([past[0], k_GSK], dim=1)
                v_GSK = torch.cat([past[1], v_GSK], dim=1)""",
                "                k_GSK, v_GSK = torch.cat([past[0], k_GSK], dim=1), torch.cat([past[1], v_GSK], dim=1)",
            ),
            (
                '''\
    """What the last T of S positions gather from the past, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # R = H/G share a key-value head''',
                '''\
    """What the last T of S positions gather from those up to their own, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(H // G, G, T, K).transpose(0, 1)  # the H/G query heads of one key-value head, side by side''',
            ),
            (
                """\
    scores_GRTS = scores_GRTS.masked_fill(ahead_TS, float("-inf"))
    return (scores_GRTS.softmax(-1) @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)""",
                """\
    probabilities = scores_GRTS.masked_fill(ahead_TS, float("-inf")).softmax(-1)
    return (probabilities @ v_GSK[:, None]).transpose(0, 1).reshape(H, T, K).transpose(0, 1)""",
            ),
        ],
    ),
    Fault(
        "last_token_too",
        "Passes the last new token through the model, though nobody asks what follows it.",
        told="One too many: the last token was passed through the model",
        text='''\
from collections.abc import Callable

import torch
from torch import Tensor


def generate(
    embed: Callable[[list[int]], Tensor],
    project: Callable[[int, Tensor, int], tuple[Tensor, Tensor, Tensor]],
    finish: Callable[[int, Tensor, Tensor], Tensor],
    score: Callable[[Tensor], Tensor],
    n_layers: int,
    prompt: list[int],
    n_new: int,
    chunk: int,
) -> tuple[list[int], Tensor]:
    """Return (n_new tokens, logits [n_new, V] from which each was chosen, the largest wins)."""
    cache: list[tuple[Tensor, Tensor] | None] = [None] * n_layers
    seen = 0

    def run(tokens: list[int]) -> Tensor:
        """Pass tokens through all layers, behind those in the cache; the last position's vector, [1, D]."""
        nonlocal seen
        x_TD = embed(tokens)
        for layer in range(n_layers):
            q_HTK, k_GSK, v_GSK = project(layer, x_TD, seen)
            if past := cache[layer]:
                k_GSK, v_GSK = torch.cat([past[0], k_GSK], dim=1), torch.cat([past[1], v_GSK], dim=1)
            cache[layer] = k_GSK, v_GSK
            x_TD = finish(layer, x_TD, attend(q_HTK, k_GSK, v_GSK))
        seen += len(tokens)
        return x_TD[-1:]

    for start in range(0, len(prompt), chunk):
        last_1D = run(prompt[start : start + chunk])
    tokens, logits = [], []
    while True:
        logits.append(score(last_1D)[0])
        tokens.append(int(logits[-1].argmax()))
        last_1D = run(tokens[-1:])
        if len(tokens) == n_new:
            return tokens, torch.stack(logits)


def attend(q_HTK: Tensor, k_GSK: Tensor, v_GSK: Tensor) -> Tensor:
    """What the last T of S positions gather from those up to their own, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # the H/G query heads of one key-value head, side by side
    scores_GRTS = q_GRTK @ k_GSK[:, None].mT * K**-0.5
    ahead_TS = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    probabilities = scores_GRTS.masked_fill(ahead_TS, float("-inf")).softmax(-1)
    return (probabilities @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)
''',
    ),
    Fault(
        "looks_ahead",
        "Leaves the mask out, which only decode steps of one token may do.",
        told="These are the logits of a model whose tokens look ahead",
        edits=[
            (
                '"""Return (n_new tokens, logits [n_new, V]); the largest logit wins."""',
                '"""Return (n_new tokens, logits [n_new, V] from which each was chosen, the largest wins)."""',
            ),
            (
                '"""Pass tokens through all layers; the last one\'s vector, [1, D]."""',
                '"""Pass tokens through all layers, behind those in the cache; the last position\'s vector, [1, D]."""',
            ),
            (
                """\
                k_GSK = torch.cat([past[0], k_GSK], dim=1)
                v_GSK = torch.cat([past[1], v_GSK], dim=1)""",
                "                k_GSK, v_GSK = torch.cat([past[0], k_GSK], dim=1), torch.cat([past[1], v_GSK], dim=1)",
            ),
            (
                '''\
    """What the last T of S positions gather from the past, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # R = H/G share a key-value head
    scores_GRTS = q_GRTK @ k_GSK[:, None].mT * K**-0.5
    ahead_TS = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores_GRTS = scores_GRTS.masked_fill(ahead_TS, float("-inf"))
    return (scores_GRTS.softmax(-1) @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)''',
                '''\
    """What the last T of S positions gather from those up to their own, [T, H, K]."""
    (H, T, K), G = q_HTK.shape, k_GSK.shape[0]
    q_GRTK = q_HTK.view(G, H // G, T, K)  # the H/G query heads of one key-value head, side by side
    scores_GRTS = q_GRTK @ k_GSK[:, None].mT * K**-0.5
    probabilities = scores_GRTS.softmax(-1)
    return (probabilities @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)''',
            ),
        ],
    ),
    Fault(
        "mask_forgets_the_cache",
        "Builds the mask as if the chunk were the whole sequence.",
        told="These are the logits of a model whose mask forgets the",
        edits=[
            (
                '"""Return (n_new tokens, logits [n_new, V]); the largest logit wins."""',
                '"""Return (n_new tokens, logits [n_new, V] from which each was chosen, the largest wins)."""',
            ),
            (
                '"""Pass tokens through all layers; the last one\'s vector, [1, D]."""',
                '"""Pass tokens through all layers, behind those in the cache; the last position\'s vector, [1, D]."""',
            ),
            (
                """\
                k_GSK = torch.cat([past[0], k_GSK], dim=1)
                v_GSK = torch.cat([past[1], v_GSK], dim=1)""",
                "                k_GSK, v_GSK = torch.cat([past[0], k_GSK], dim=1), torch.cat([past[1], v_GSK], dim=1)",
            ),
            (
                '''\
    """What the last T of S positions gather from the past, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # R = H/G share a key-value head
    scores_GRTS = q_GRTK @ k_GSK[:, None].mT * K**-0.5
    ahead_TS = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores_GRTS = scores_GRTS.masked_fill(ahead_TS, float("-inf"))
    return (scores_GRTS.softmax(-1) @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)''',
                '''\
    """What the last T of S positions gather from those up to their own, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # the H/G query heads of one key-value head, side by side
    scores_GRTS = q_GRTK @ k_GSK[:, None].mT * K**-0.5
    ahead_TS = torch.ones(T, S, dtype=torch.bool).triu(1)
    probabilities = scores_GRTS.masked_fill(ahead_TS, float("-inf")).softmax(-1)
    return (probabilities @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)''',
            ),
        ],
    ),
    Fault(
        "no_cache",
        "Right tokens at the full price: the whole sequence passes through the model for every new one.",
        told="The whole sequence passed through the model for every new",
        text="""\
import torch


def generate(embed, project, finish, score, n_layers, prompt, n_new, chunk):
    tokens, logits = [], []
    while len(tokens) < n_new:
        sequence = prompt + tokens
        x_TD = embed(sequence)
        for layer in range(n_layers):
            q_HTK, k_GTK, v_GTK = project(layer, x_TD, 0)
            x_TD = finish(layer, x_TD, attend(q_HTK, k_GTK, v_GTK))
        logits.append(score(x_TD[-1:])[0])
        tokens.append(int(logits[-1].argmax()))
    return tokens, torch.stack(logits)


def attend(q_HTK, k_GTK, v_GTK):
    (H, T, K), G = q_HTK.shape, k_GTK.shape[0]
    k_HTK, v_HTK = (x.repeat_interleave(H // G, dim=0) for x in (k_GTK, v_GTK))
    scores_HTT = q_HTK @ k_HTK.mT * K**-0.5
    ahead_TT = torch.ones(T, T, dtype=torch.bool).triu(1)
    return (scores_HTT.masked_fill(ahead_TT, float("-inf")).softmax(-1) @ v_HTK).transpose(0, 1)
""",
    ),
    Fault(
        "positions_restart",
        "Rotates every call from position 0 on.",
        told="These are the logits of a model in which every call begins",
        edits=[
            (
                '"""Return (n_new tokens, logits [n_new, V]); the largest logit wins."""',
                '"""Return (n_new tokens, logits [n_new, V] from which each was chosen, the largest wins)."""',
            ),
            (
                '"""Pass tokens through all layers; the last one\'s vector, [1, D]."""',
                '"""Pass tokens through all layers, behind those in the cache; the last position\'s vector, [1, D]."""',
            ),
            (
                """\
            q_HTK, k_GSK, v_GSK = project(layer, x_TD, seen)
            if past := cache[layer]:
                k_GSK = torch.cat([past[0], k_GSK], dim=1)
                v_GSK = torch.cat([past[1], v_GSK], dim=1)""",
                """\
            q_HTK, k_GSK, v_GSK = project(layer, x_TD, 0)
            if past := cache[layer]:
                k_GSK, v_GSK = torch.cat([past[0], k_GSK], dim=1), torch.cat([past[1], v_GSK], dim=1)""",
            ),
            (
                '''\
    """What the last T of S positions gather from the past, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # R = H/G share a key-value head''',
                '''\
    """What the last T of S positions gather from those up to their own, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # the H/G query heads of one key-value head, side by side''',
            ),
            (
                """\
    scores_GRTS = scores_GRTS.masked_fill(ahead_TS, float("-inf"))
    return (scores_GRTS.softmax(-1) @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)""",
                """\
    probabilities = scores_GRTS.masked_fill(ahead_TS, float("-inf")).softmax(-1)
    return (probabilities @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)""",
            ),
        ],
    ),
    Fault(
        "scores_everything",
        "Computes logits of every position of the prompt.",
        told="You scored every position. Only the last one of the prompt",
        edits=[
            (
                '"""Return (n_new tokens, logits [n_new, V]); the largest logit wins."""',
                '"""Return (n_new tokens, logits [n_new, V] from which each was chosen, the largest wins)."""',
            ),
            (
                '"""Pass tokens through all layers; the last one\'s vector, [1, D]."""',
                '"""Pass tokens through all layers, behind those in the cache; the last position\'s vector, [1, D]."""',
            ),
            (
                """\
                k_GSK = torch.cat([past[0], k_GSK], dim=1)
                v_GSK = torch.cat([past[1], v_GSK], dim=1)""",
                "                k_GSK, v_GSK = torch.cat([past[0], k_GSK], dim=1), torch.cat([past[1], v_GSK], dim=1)",
            ),
            ("return x_TD[-1:]", "return x_TD"),
            (
                "        last_1D = run(prompt[start : start + chunk])",
                """\
        last_1D = run(prompt[start : start + chunk])
        if start + chunk < len(prompt):
            score(last_1D)""",
            ),
            ("logits.append(score(last_1D)[0])", "logits.append(score(last_1D)[-1])"),
            (
                '''\
    """What the last T of S positions gather from the past, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # R = H/G share a key-value head''',
                '''\
    """What the last T of S positions gather from those up to their own, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # the H/G query heads of one key-value head, side by side''',
            ),
            (
                """\
    scores_GRTS = scores_GRTS.masked_fill(ahead_TS, float("-inf"))
    return (scores_GRTS.softmax(-1) @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)""",
                """\
    probabilities = scores_GRTS.masked_fill(ahead_TS, float("-inf")).softmax(-1)
    return (probabilities @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)""",
            ),
        ],
    ),
]
