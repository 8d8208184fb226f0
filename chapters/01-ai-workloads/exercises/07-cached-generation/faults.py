"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

READ_CHUNK = "last_1D = run(prompt[start : start + chunk])"
WRITE = """\
        if len(tokens) == n_new:
            return tokens, torch.stack(logits)
        last_1D = run(tokens[-1:])
"""

FAULTS = [
    Fault(
        "positions_restart",
        "Rotates every call from position 0 on.",
        edits=[("project(layer, x_TD, seen)", "project(layer, x_TD, 0)")],
        hint=Text(
            "These are the logits of a model in which every call begins at position 0. `start` is the number of "
            "tokens that are already in the cache.",
            "这样的logits，出自每次调用都从位置0开始的模型。`start`应是KV缓存中已有的词元数。",
        ),
    ),
    Fault(
        "looks_ahead",
        "Leaves the mask out, which only decode steps of one token may do.",
        edits=[('    scores_GRTS = scores_GRTS.masked_fill(ahead_TS, float("-inf"))\n', "")],
        hint=Text(
            "These are the logits of a model whose tokens look ahead inside a chunk. A mask is needed there.",
            "这样的logits，出自一块之内词元可以往后看的模型。这里需要掩码。",
        ),
    ),
    Fault(
        "mask_forgets_the_cache",
        "Builds the mask as if the chunk were the whole sequence.",
        edits=[("triu(S - T + 1)", "triu(1)")],
        hint=Text(
            "These are the logits of a model whose mask forgets the cache: token i of a chunk sees positions 0 to i, "
            "and should see 0 to start + i.",
            "这样的logits，出自掩码忘了KV缓存的模型：一块中的第i个词元只看到位置0到i，而它应看到0到start + i。",
        ),
    ),
    Fault(
        "heads_modulo",
        "Gives query head h the key-value head h mod G instead of h // (H / G).",
        edits=[
            ("q_HTK.view(G, H // G, T, K)", "q_HTK.view(H // G, G, T, K).transpose(0, 1)"),
            (".view(H, T, K).transpose(0, 1)", ".transpose(0, 1).reshape(H, T, K).transpose(0, 1)"),
        ],
        hint=Text(
            "These are the logits of a model in which query head h uses key-value head h mod G. Neighbours share a "
            "head: query h uses h // (H / G).",
            "这样的logits，出自查询头h使用第h mod G个键值头的模型。共用一个键值头的是相邻的查询头：h对应h // (H / G)。",
        ),
    ),
    Fault(
        "not_scaled",
        "Leaves out the scale of the scores.",
        edits=[(" * K**-0.5", "")],
        hint=Text(
            "These are the logits of a model without the scale 1 / sqrt(K) of the scores.",
            "这样的logits，出自分数没有乘以1 / sqrt(K)的模型。",
        ),
    ),
    Fault(
        "chunk_alone",
        "Overwrites the cache at every call.",
        edits=[("if past := cache[layer]:", "if past := None:")],
        hint=Text(
            "These are the logits of a model in which a call sees its own tokens only: the cache is not read, or it "
            "is overwritten.",
            "这样的logits，出自每次调用只看得见自己那些词元的模型：没有读KV缓存，或者KV缓存被覆盖了。",
        ),
    ),
    Fault(
        "cache_in_bf16",
        "Keeps the cache in bf16, which changes the logits by more than rounding in float32 does.",
        edits=[("cache[layer] = k_GSK, v_GSK", "cache[layer] = k_GSK.bfloat16().float(), v_GSK.bfloat16().float()")],
    ),
    Fault(
        "logits_alone",
        "Returns the logits without the tokens.",
        edits=[("return tokens, torch.stack(logits)", "return torch.stack(logits)")],
    ),
    Fault(
        "last_token_missing",
        "Leaves the last token out of the list.",
        edits=[("return tokens, torch.stack(logits)", "return tokens[:-1], torch.stack(logits)")],
    ),
    Fault(
        "no_cache",
        "Right tokens at the full price: the whole sequence passes through the model for every new one.",
        told="The whole sequence passed through the model for every new",
        edits=[
            (f"    for start in range(0, len(prompt), chunk):\n        {READ_CHUNK}\n", "    last_1D = run(prompt)\n"),
            (
                WRITE,
                WRITE.replace(
                    "last_1D = run(tokens[-1:])",
                    "cache, seen = [None] * n_layers, 0\n        last_1D = run(prompt + tokens)",
                ),
            ),
        ],
    ),
    Fault(
        "last_token_too",
        "Passes the last new token through the model, though nobody asks what follows it.",
        told="One too many: the last token was passed through the model",
        edits=[(WRITE, "".join(WRITE.splitlines(keepends=True)[i] for i in (2, 0, 1)))],
    ),
    Fault(
        "token_before_again",
        "Takes the last token out of the cache and passes it again with the new one.",
        told="Each new token was passed along with the token before it",
        edits=[
            (
                WRITE,
                WRITE.replace(
                    "last_1D = run(tokens[-1:])",
                    "cache[:] = [(k[:, :-1], v[:, :-1]) for k, v in cache]\n"
                    "        seen -= 1\n"
                    "        last_1D = run((prompt + tokens)[-2:])",
                ),
            )
        ],
    ),
    Fault(
        "token_by_token",
        "Reads the prompt one token at a time.",
        told="The prompt was read a token at a time.",
        edits=[
            ("range(0, len(prompt), chunk)", "range(len(prompt))"),
            (READ_CHUNK, "last_1D = run(prompt[start : start + 1])"),
        ],
    ),
    Fault(
        "prompt_at_once",
        "Reads the prompt in one piece.",
        told="The prompt was read in one piece.",
        edits=[("range(0, len(prompt), chunk)", "(0,)"), (READ_CHUNK, "last_1D = run(prompt)")],
    ),
    Fault(
        "scores_everything",
        "Computes logits of every position of the prompt.",
        told="You scored every position. Only the last one of the prompt",
        edits=[
            ("return x_TD[-1:]", "return x_TD"),
            (
                READ_CHUNK,
                f"{READ_CHUNK}\n        if start + chunk < len(prompt):\n            score(last_1D)",
            ),
            ("score(last_1D)[0]", "score(last_1D)[-1]"),
        ],
    ),
    Fault(
        "scores_each_chunk",
        "Computes logits of the last position of every chunk.",
        told="You scored the last position of every chunk.",
        edits=[
            (
                READ_CHUNK,
                f"{READ_CHUNK}\n        if start + chunk < len(prompt):\n            score(last_1D)",
            ),
        ],
    ),
]
