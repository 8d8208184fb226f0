"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "keys_alone",
        "Forgets the values.",
        told="A position keeps a key and a value: twice as many elements",
        edits=[
            (
                "return 2 * config.n_layers * config.n_kv_heads * config.head_dim * context * bytes_per_element",
                "return config.n_layers * config.n_kv_heads * config.head_dim * context * bytes_per_element",
            ),
        ],
    ),
    Fault(
        "largest",
        "Takes the largest batch that the target allows.",
        told="193 is the largest batch size allowed, and a smaller one",
        edits=[
            (
                """\
    good = 0.99 * max(rates.values(), default=0.0)
    return next(((batch, rate) for batch, rate in rates.items() if rate >= good), None)""",
                "    return max(rates.items()) if rates else None",
            ),
        ],
    ),
    Fault(
        "memory_bound",
        "Takes for granted that a step is bound by memory.",
        told="This is the shorter of the two times. A step is no faster",
        edits=[
            (
                """\
    attention = 4 * config.n_layers * config.n_heads * config.head_dim * context
    return max(traffic / bandwidth, batch * (2 * used + attention) / peak)""",
                "    return traffic / bandwidth",
            ),
        ],
    ),
    Fault(
        "no_target",
        "Looks for the best batch without looking at the target.",
        told="This batch size is chosen as if there were no target: only",
        edits=[
            (
                """\
        if seconds > target:
            break
""",
                "",
            ),
        ],
    ),
    Fault(
        "one_cache",
        "Reads the cache of a single sequence.",
        told="This reads the cache of one sequence. Nobody can use",
        edits=[
            (
                "traffic = used * bytes_per_element + batch * _cache_bytes(config, context, bytes_per_element)",
                "traffic = used * bytes_per_element + _cache_bytes(config, context, bytes_per_element)",
            ),
        ],
    ),
    Fault(
        "query_heads",
        "Keeps keys and values for every query head.",
        told="This keeps keys and values for every query head. With",
        edits=[
            (
                "return 2 * config.n_layers * config.n_kv_heads * config.head_dim * context * bytes_per_element",
                "return 2 * config.n_layers * config.n_heads * config.head_dim * context * bytes_per_element",
            ),
        ],
    ),
    Fault(
        "table_read",
        "Reads and multiplies an embedding table that is only looked up.",
        told="You counted the embedding table. It is only looked up here",
        edits=[
            ("used = count.total if config.tie_embeddings else count.total - count.embedding", "used = count.total"),
        ],
    ),
    Fault(
        "times_added",
        "Adds the two times of the roofline.",
        told="You added the two times. The roofline assumes that they",
        edits=[
            (
                "return max(traffic / bandwidth, batch * (2 * used + attention) / peak)",
                "return traffic / bandwidth + batch * (2 * used + attention) / peak",
            ),
        ],
    ),
    Fault(
        "weights_for_each",
        "Reads the weights once for each sequence of the batch.",
        told="This reads the weights once for each sequence. The point of",
        edits=[
            (
                "traffic = used * bytes_per_element + batch * _cache_bytes(config, context, bytes_per_element)",
                "traffic = batch * (used * bytes_per_element + _cache_bytes(config, context, bytes_per_element))",
            ),
        ],
    ),
]
