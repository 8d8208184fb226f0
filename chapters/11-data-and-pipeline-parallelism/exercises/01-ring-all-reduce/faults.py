"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

CHUNK = "return size * number // ranks, size * (number + 1) // ranks"
TOTALS = "steps.append((chunk(rank - k), chunk(rank - 1 - k), False))"

FAULTS = [
    Fault(
        "steps_as_lists",
        "Returns lists in place of tuples.",
        edits=[("    return steps\n", "    return [list(step) for step in steps]\n")],
    ),
    Fault(
        "beyond_the_end",
        "Lets the last chunk end after the vector.",
        edits=[(CHUNK, "return -(-size // ranks) * number, -(-size // ranks) * (number + 1)")],
    ),
    Fault(
        "half_the_way",
        "Ends after the reduce-scatter.",
        edits=[(f"    for k in range(ranks - 1):  # totals go around\n        {TOTALS}\n", "")],
        hint=Text(
            "Once around the ring is one half: a reduce-scatter, after which each rank has the total of one chunk. "
            "The totals still have to go around.",
            "绕环一圈只完成了一半，即reduce-scatter：此时每个进程各有一块的总和，这些总和还要再绕一圈。",
        ),
    ),
    Fault(
        "home_again",
        "Goes around the whole ring twice, and brings each chunk home.",
        edits=[
            ("range(ranks - 1):  # partial", "range(ranks):  # partial"),
            ("range(ranks - 1):  # totals", "range(ranks):  # totals"),
        ],
        hint=Text(
            "A chunk has reached all ranks after ranks - 1 steps; the last step brings it home again.",
            "一块经过ranks - 1步就到过所有进程了；再多一步，只是把它送回了出发处。",
        ),
    ),
    Fault(
        "receives_what_it_sends",
        "Puts what arrives in the place of what was sent.",
        edits=[
            ("(chunk(rank - 1 - k), chunk(rank - 2 - k), True)", "(chunk(rank - 1 - k), chunk(rank - 1 - k), True)")
        ],
        told="What a rank receives is the chunk",
    ),
    Fault(
        "chunks_of_other_sizes",
        "Receives chunks of other sizes than those that are sent.",
        edits=[(TOTALS, "steps.append((chunk(rank - k), (0, 1), False))")],
        told="What a rank receives is the chunk",
    ),
    Fault(
        "rest_forgotten",
        "Cuts chunks of size // ranks elements and forgets the rest.",
        edits=[(CHUNK, "return size // ranks * number, size // ranks * (number + 1)")],
        hint=Text(
            "Only the last elements are wrong: the size is no multiple of the ranks, and chunks of size // ranks leave "
            "a rest that belongs to none.",
            "只有最后几个元素不对：元素数不是进程数的倍数，每块取size // ranks个元素，余下的就不属于任何块。",
        ),
    ),
    Fault(
        "second_half_adds",
        "Adds also when the totals go around, so that parts are counted more than once.",
        edits=[(TOTALS, TOTALS.replace("False", "True"))],
        hint=Text(
            "Once a chunk is complete it is only copied: the second time around, `add` is False, and what is "
            "sent first is the chunk that this rank has completed.",
            "一块的总和一旦完整，之后就只是复制：绕第二圈时`add`为False，最先发出的是本进程刚刚凑齐的那一块。",
        ),
    ),
    Fault(
        "gathers_the_wrong_chunk",
        "Begins the second half with the chunk of the next rank, whose total it does not have.",
        edits=[(TOTALS, "steps.append((chunk(rank + 1 - k), chunk(rank - k), False))")],
        hint=Text(
            "Follow one chunk: the rank that received it in step k sends it in step k + 1. After the first time "
            "around, one rank has its total, and that is where its second time around begins.",
            "盯住一块来看：第k步收到它的进程，第k + 1步把它发出去。"
            "绕完第一圈，有一个进程得到它的总和；第二圈就从这个进程开始。",
        ),
    ),
    Fault(
        "chain",
        "Sends the whole vector from rank to rank, around twice: the right sum and no more bytes, but idle links.",
        edits=[(CHUNK, "return (0, size) if number == 0 else (0, 0)")],
        hint=Text(
            "A message holds the whole vector, as in a chain from the first rank to the last and back. The sum is "
            "right, but in each step most links are idle. Cut the vector into one chunk for each rank.",
            "一条消息装下了整个向量，就像从第一个进程传到最后一个、再传回来的链。和是对的，但每一步大多数链路都闲着。"
            "应把向量切成块，每个进程一块。",
        ),
    ),
    Fault(
        "last_chunk_takes_the_rest",
        "Gives the last chunk all that size // ranks leaves, so that its messages are long.",
        edits=[(CHUNK, "return size // ranks * number, size if number == ranks - 1 else size // ranks * (number + 1)")],
        hint=Text(
            "One chunk took the whole rest of size / ranks. A step takes as long as its longest message, so let chunks "
            "differ by one element at most.",
            "size / ranks的余数全给了一块。一步的快慢取决于最长的那条消息，所以各块至多应差一个元素。",
        ),
    ),
    Fault(
        "an_element_too_much",
        "Fills shorter chunks up to the longest with an element that the receiver has already.",
        edits=[
            (
                "    steps = []\n",
                "    def filled(part: Range) -> Range:\n"
                "        first, last = part\n"
                "        return first, min(size, last + (last - first < size / ranks))\n\n"
                "    steps = []\n",
            ),
            (TOTALS, f"{TOTALS}\n        if k:\n            steps[-1] = *map(filled, steps[-1][:2]), False"),
        ],
    ),
]
