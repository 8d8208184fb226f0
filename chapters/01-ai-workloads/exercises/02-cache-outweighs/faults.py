"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

# Both functions ask for the cache of one request.
BATCH = "cache = kv_cache_bytes(config, 1, context, bytes_per_element)"
CEILING = "return bandwidth / kv_cache_bytes(config, 1, context, bytes_per_element)"

FAULTS = [
    Fault(
        "throughput_at_balance",
        "Takes the throughput at the balance for the ceiling.",
        edits=[(CEILING, f"{CEILING} / 2")],
        hint=Text(
            "This is the throughput at the balance, where half of the bytes are weights. As the batch grows, "
            "their share tends to nothing.",
            "这是KV缓存与权重一样重时的吞吐量，那时有一半字节是权重。批次继续增大，权重所占的份额趋于零。",
        ),
    ),
    Fault(
        "default_precision",
        "Leaves the bytes of an element to kv_cache_bytes, whose default is float32.",
        edits=[
            (BATCH, "cache = kv_cache_bytes(config, 1, context)"),
            (CEILING, "return bandwidth / kv_cache_bytes(config, 1, context)"),
        ],
        hint=Text(
            "The cache's elements take bytes_per_element bytes. kv_cache_bytes takes it as its last argument, 4 "
            "where left out.",
            "KV缓存里每个元素占bytes_per_element字节。它是kv_cache_bytes的最后一个参数，省略时取4。",
        ),
    ),
    Fault(
        "keys_only",
        "Keeps keys and forgets that the values are kept as well.",
        edits=[(BATCH, f"{BATCH} / 2"), (CEILING, f"{CEILING} * 2")],
        hint=Text("Half of the cache is missing: it keeps keys and values.", "KV缓存少算了一半：键和值都要存。"),
    ),
    Fault(
        "query_heads",
        "Gives every query head keys and values of its own.",
        edits=[
            (BATCH, f"{BATCH} * config.n_heads // config.n_kv_heads"),
            (CEILING, f"{CEILING} * config.n_kv_heads / config.n_heads"),
        ],
        hint=Text(
            "You counted a key and a value for every query head. Grouped queries share them: the cache has "
            "n_kv_heads of each.",
            "你给每个查询头都算了一份键和值。分组查询共用它们：KV缓存里键和值各只有n_kv_heads份。",
        ),
    ),
    Fault(
        "table_always",
        "Counts the embedding table also where it is only looked up.",
        edits=[("weights -= count.embedding  # looked up, not read whole", "pass")],
        hint=Text(
            "You counted the embedding table. Here it is only looked up (tie_embeddings is False): a step reads one "
            "row of it for each token.",
            "你计入了嵌入表。这里它只用来查表（tie_embeddings为False），每个词元只读一行。",
        ),
    ),
    Fault(
        "table_never",
        "Leaves the embedding table out also where it serves as the head.",
        edits=[("if not config.tie_embeddings:", "if True:")],
        hint=Text(
            "You left the embedding table out. Here it also serves as the head (tie_embeddings is True), which every "
            "step reads whole.",
            "你没有计入嵌入表。这里它兼作输出头（tie_embeddings为True），每一步都要整个读一遍。",
        ),
    ),
    Fault(
        "rounded_down",
        "Rounds the batch down, where the cache is still the lighter part.",
        edits=[("math.ceil(", "math.floor(")],
        hint=Text(
            "One too few: at this batch size the weights still weigh more. Round up.",
            "少了一个：在这个批大小下，权重仍比KV缓存重。应向上取整。",
        ),
    ),
    Fault(
        "one_token_more",
        "Counts the token that is being written among those in the cache.",
        edits=[(CEILING, "return bandwidth / kv_cache_bytes(config, 1, context + 1, bytes_per_element)")],
    ),
]
