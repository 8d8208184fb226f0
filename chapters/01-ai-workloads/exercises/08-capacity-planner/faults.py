"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

WEIGHTS = "weights = parameters(config).total * bytes_per_weight"
FREE = "free = int(share * memory_bytes) - weights"
BLOCK = "block = kv_cache_bytes(config, 1, block_tokens, bytes_per_element)"
RESULT = "return blocks * block_tokens, blocks // blocks_per_request, unused"

FAULTS = [
    Fault(
        "three_in_a_list",
        "Returns a list in place of the tuple.",
        edits=[(RESULT, "return [blocks * block_tokens, blocks // blocks_per_request, unused]")],
    ),
    Fault(
        "does_not_fit",
        "Returns negative numbers where not even the weights fit.",
        edits=[("    if free < 0:\n        return 0, 0, 0\n", "")],
        told="The weights alone exceed the share of the memory, by",
    ),
    Fault(
        "tokens_not_rounded",
        "Counts single tokens where the memory is given out in blocks.",
        edits=[(RESULT, "return free * block_tokens // block, blocks // blocks_per_request, unused")],
        hint=Text(
            "You counted single tokens. Memory is given out in whole blocks of block_tokens tokens.",
            "你按单个词元计数了。内存是按每块block_tokens个词元的整块分配的。",
        ),
    ),
    Fault(
        "blocks_for_tokens",
        "Returns blocks where tokens are wanted.",
        edits=[(RESULT, "return blocks, blocks // blocks_per_request, unused")],
        hint=Text("These are blocks. Wanted are the tokens in them.", "这是块数。要的是这些块里的词元数。"),
    ),
    Fault(
        "share_of_the_rest",
        "Takes the share of what the weights leave, and not of the whole memory.",
        edits=[(FREE, "free = int(share * (memory_bytes - weights))")],
        hint=Text(
            "You took the share of what the weights leave. It is a share of the whole memory, and the weights lie "
            "within it.",
            "你对减去权重后的余量取了份额。份额是对整个内存取的，权重也在这个份额之内。",
        ),
    ),
    Fault(
        "whole_memory",
        "Uses the whole memory.",
        edits=[(FREE, "free = memory_bytes - weights")],
        hint=Text(
            "You used the whole memory: only `share` of it may be used.",
            "你用了全部内存，而可用的只有`share`这一份额。",
        ),
    ),
    Fault(
        "table_not_stored",
        "Leaves out the embedding table, of which a step reads one row.",
        edits=[(WEIGHTS, "weights = (parameters(config).total - parameters(config).embedding) * bytes_per_weight")],
        hint=Text(
            "An embedding table is missing from the weights. A step reads one row of it, but all of it is stored.",
            "权重里少了一张嵌入表。一步只读其中一行，存却要存下整张表。",
        ),
    ),
    Fault(
        "active_weights",
        "Stores only the weights that one token uses.",
        edits=[(WEIGHTS, "weights = parameters(config).active * bytes_per_weight")],
        hint=Text(
            "You stored the active parameters only. Nobody knows in advance which experts a token will visit: "
            "all of them must be in memory.",
            "你只存了激活参数。词元会去哪些专家，事先谁也不知道，所以全部专家都要放在内存里。",
        ),
    ),
    Fault(
        "default_precision",
        "Leaves the bytes of an element to kv_cache_bytes, whose default is float32.",
        edits=[(BLOCK, "block = kv_cache_bytes(config, 1, block_tokens)")],
        hint=Text(
            "The cache's elements take bytes_per_element bytes. kv_cache_bytes takes it as its last argument, 4 "
            "where left out.",
            "KV缓存里每个元素占bytes_per_element字节。它是kv_cache_bytes的最后一个参数，省略时取4。",
        ),
    ),
    Fault(
        "query_heads",
        "Keeps keys and values of every query head.",
        edits=[(BLOCK, f"{BLOCK} * (1 if config.mla else config.n_heads // config.n_kv_heads)")],
        hint=Text(
            "You kept keys and values of every query head: the cache holds n_kv_heads of them.",
            "你给每个查询头都存了键和值，而KV缓存里只有n_kv_heads份。",
        ),
    ),
    Fault(
        "no_whole_blocks",
        "Divides tokens by the context, as if two requests could share a block.",
        edits=[("blocks // blocks_per_request", "blocks * block_tokens // context")],
        hint=Text(
            "You divided tokens by tokens. A request takes whole blocks of its own; the rest of its last block "
            "serves nobody else.",
            "你用词元数除以词元数。每个请求占用自己的整数个块，最后一块剩下的部分别人用不上。",
        ),
    ),
    Fault(
        "last_block_free",
        "Does not count the last block of a request, which is partly full.",
        edits=[("blocks_per_request = -(-context // block_tokens)", "blocks_per_request = context // block_tokens")],
        hint=Text(
            "The last block of a request, which is only partly full, counts as well: round up.",
            "请求的最后一块即使没有装满也要占用：应向上取整。",
        ),
    ),
    Fault(
        "one_block_left_over",
        "Counts one block more as unused than there is.",
        edits=[(RESULT, "return blocks * block_tokens, blocks // blocks_per_request, unused + block")],
    ),
]
