"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "weights_forgotten",
        "Fills all memory with cache.",
        edits=[("memory - parameters(config).total * bytes_per_element", "memory")],
        hint=Text(
            "This fills all memory with cache. The weights lie in the same memory.",
            "这样算，整个内存都给了KV缓存。权重也在同一块内存里。",
        ),
    ),
    Fault(
        "table_not_held",
        "Leaves out an embedding table that is only looked up, although it lies in memory.",
        edits=[
            (
                "    free = memory - parameters(config).total * bytes_per_element",
                """\
    count = parameters(config)
    free = memory - (count.total - (0 if config.tie_embeddings else count.embedding)) * bytes_per_element""",
            ),
        ],
        hint=Text(
            "The embedding table is not read whole in a step, but it has to lie in memory.",
            "嵌入表在一步中不会整个读一遍，但它要放在内存里。",
        ),
    ),
    Fault(
        "fewer_than_none",
        "Returns a negative number where not even the weights fit.",
        edits=[
            (
                "max(0, int(free // _cache_bytes(config, context, bytes_per_element)))",
                "int(free // _cache_bytes(config, context, bytes_per_element))",
            ),
        ],
        hint=Text(
            "The weights alone are more than the memory: then nothing fits, and nothing is 0.",
            "单是权重就超出了内存，一个序列也放不下，应当返回0。",
        ),
    ),
    Fault(
        "keys_alone",
        "Forgets the values.",
        edits=[("return 2 * config.n_layers", "return config.n_layers")],
        hint=Text(
            "A position keeps a key and a value: twice as many elements as counted here.",
            "每个位置既存键又存值，元素数是这里所算的两倍。",
        ),
    ),
    Fault(
        "query_heads",
        "Keeps keys and values for every query head.",
        edits=[("config.n_kv_heads", "config.n_heads")],
        hint=Text(
            "This keeps keys and values for every query head. With grouped queries there are n_kv_heads of them.",
            "这样算，每个查询头各存一份键和值。分组查询注意力只存n_kv_heads份。",
        ),
    ),
    Fault(
        "one_cache",
        "Reads the cache of a single sequence.",
        edits=[("+ batch * _cache_bytes", "+ _cache_bytes")],
        hint=Text(
            "This reads the cache of one sequence. Nobody can use another's: a step reads all of them.",
            "这里只读了一个序列的KV缓存。各序列的KV缓存互不相同，一步要把每个序列的都读一遍。",
        ),
    ),
    Fault(
        "one_layer",
        "Keeps the keys and values of a single layer.",
        edits=[("return 2 * config.n_layers * ", "return 2 * ")],
        hint=Text(
            "This is the cache of one layer. Every layer keeps its own.", "这只是一层的KV缓存。每一层都要各存各的。"
        ),
    ),
    Fault(
        "weights_for_each",
        "Reads the weights once for each sequence of the batch.",
        edits=[
            (
                "used * bytes_per_element + batch * _cache_bytes(config, context, bytes_per_element)",
                "batch * (used * bytes_per_element + _cache_bytes(config, context, bytes_per_element))",
            ),
        ],
        hint=Text(
            "This reads the weights once for each sequence. The point of a batch is that they are read once a step, "
            "for all.",
            "这样算，每个序列都读了一遍权重。批处理的意义就在于：权重一步只读一遍，供所有序列使用。",
        ),
    ),
    Fault(
        "no_cache",
        "Reads the weights alone.",
        edits=[(" + batch * _cache_bytes(config, context, bytes_per_element)", "")],
        hint=Text("This reads the weights and no cache.", "这里只读了权重，没有读KV缓存。"),
    ),
    Fault(
        "table_read",
        "Reads and multiplies an embedding table that is only looked up.",
        edits=[("count.total if config.tie_embeddings else count.total - count.embedding", "count.total")],
        hint=Text(
            "You counted the embedding table. It is only looked up here (tie_embeddings is False).",
            "你计入了嵌入表。这里它只用来查表（tie_embeddings为False）。",
        ),
    ),
    Fault(
        "times_added",
        "Adds the two times of the roofline.",
        edits=[
            (
                "max(traffic / bandwidth, batch * (2 * used + attention) / peak)",
                "traffic / bandwidth + batch * (2 * used + attention) / peak",
            ),
        ],
        hint=Text(
            "You added the two times. The roofline assumes that they overlap perfectly: take the larger one.",
            "你把两个时间加了起来。屋顶线假定两者完全重叠，应取较大的一个。",
        ),
    ),
    Fault(
        "arithmetic_of_one",
        "Counts the arithmetic of a single sequence.",
        edits=[("batch * (2 * used + attention)", "(2 * used + attention)")],
        hint=Text(
            "The arithmetic is that of one sequence. Weights are read once for all, but each token multiplies them.",
            "这里的运算只是一个序列的。权重为所有序列只读一遍，但每个词元都要用它们做乘法。",
        ),
    ),
    Fault(
        "shorter_time",
        "Takes the smaller of the two times.",
        edits=[("return max(traffic / bandwidth", "return min(traffic / bandwidth")],
        hint=Text(
            "This is the shorter of the two times. A step is no faster than its slower part: compare both.",
            "这是两个时间中较短的一个。一步不会比其中慢的一项更快，两项都要算，再作比较。",
        ),
    ),
    Fault(
        "memory_bound",
        "Takes for granted that a step is bound by memory.",
        edits=[
            ("max(traffic / bandwidth, batch * (2 * used + attention) / peak)", "traffic / bandwidth"),
        ],
        hint=Text(
            "This is the shorter of the two times. A step is no faster than its slower part: compare both.",
            "这是两个时间中较短的一个。一步不会比其中慢的一项更快，两项都要算，再作比较。",
        ),
    ),
    Fault(
        "attention_of_one_layer",
        "Counts the arithmetic of attention in a single layer.",
        edits=[("attention = 4 * config.n_layers * ", "attention = 4 * ")],
        hint=Text(
            "Attention's arithmetic is that of a single layer here. Every layer has attention of its own.",
            "注意力的运算只算了一层。每一层都有自己的注意力。",
        ),
    ),
    Fault(
        "attention_not_computed",
        "Counts the products with weights alone as arithmetic.",
        edits=[("(2 * used + attention)", "2 * used")],
        hint=Text(
            "The arithmetic lacks attention's own: 4 operations for each layer, query head, element of a head and "
            "token of the context.",
            "运算中漏了注意力自身的部分：每一层、每个查询头、头内每个元素、上下文中的每个词元，各4次运算。",
        ),
    ),
    Fault(
        "norms_not_read",
        "Leaves out the weights of the norms, a ten-thousandth of all.",
        edits=[("    traffic = used", "    used -= count.norm\n    traffic = used")],
    ),
    Fault(
        "largest",
        "Takes the largest batch that the target allows.",
        edits=[
            (
                "next(((batch, rate) for batch, rate in rates.items() if rate >= good), None)",
                "max(rates.items()) if rates else None",
            ),
        ],
        hint=Text(
            "This is the largest batch size allowed, and a smaller one reaches 99% of its throughput: the users' "
            "tokens come faster, and memory stays free.",
            "这是允许的最大批大小，而更小的就能达到它99%的吞吐量：用户的词元来得更快，内存也有余。",
        ),
    ),
    Fault(
        "no_target",
        "Looks for the best batch without looking at the target.",
        edits=[
            (
                """\
        if seconds > target:
            break
""",
                "",
            ),
        ],
        hint=Text(
            "This batch size is chosen as if there were no target: only the room in memory limits it.",
            "这个批大小没有考虑目标，只受内存限制。",
        ),
    ),
    Fault(
        "as_many_as_fit",
        "Takes as many sequences as fit.",
        edits=[
            (
                """\
        if seconds > target:
            break
        rates[batch]""",
                "        rates = {}\n        rates[batch]",
            ),
        ],
        hint=Text("As many as fit; the target is not met.", "这是内存放得下的最大值，没有满足目标。"),
    ),
    Fault(
        "more_than_fit",
        "Looks for the best batch without looking at the memory.",
        edits=[("range(1, sequences_that_fit(config, context, bytes_per_element, memory) + 1)", "range(1, 10_000)")],
        hint=Text(
            "This batch size is chosen as if memory had no end: only the target limits it.",
            "这个批大小没有考虑内存，只受目标限制。",
        ),
    ),
    Fault(
        "last_left_out",
        "Lets the range of batch sizes end one before the last that fits.",
        edits=[("bytes_per_element, memory) + 1)", "bytes_per_element, memory))")],
        hint=Text(
            "The largest batch that fits is allowed, too. Does your range hold it?",
            "放得下的最大批次也是允许的。你的range包含它吗？",
        ),
    ),
    Fault(
        "late_all_the_same",
        "Takes one sequence where even one takes longer than the target.",
        edits=[("if seconds > target:", "if seconds > target and batch > 1:")],
    ),
    Fault(
        "batch_size_alone",
        "Returns the batch size without the throughput.",
        edits=[("next(((batch, rate) for", "next((batch for")],
    ),
    Fault(
        "rate_of_one_sequence",
        "Gives the tokens/s of one sequence as those of the batch.",
        edits=[("next(((batch, rate) for", "next(((batch, rate / batch) for")],
        hint=Text(
            "This is one sequence's rate. The batch writes one token for each.",
            "这是一个序列的速率。一步为批次中的每个序列各写一个词元。",
        ),
    ),
    Fault(
        "rate_rounded",
        "Rounds the tokens/s to one decimal, as the example shows them.",
        edits=[("next(((batch, rate) for", "next(((batch, round(rate, 1)) for")],
    ),
]
