"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

ADDED = "free = max(free, complete) + alpha + beta * sum(sizes[index] for index in bucket)"
RESULT = "return free - max(ready_at)"

FAULTS = [
    Fault(
        "flat_list",
        "Returns one list of indices instead of one for each bucket.",
        edits=[("    return buckets\n", "    return sum(buckets, [])\n")],
    ),
    Fault(
        "last_bucket_lost",
        "Returns the buckets that are full and forgets the last.",
        edits=[("    return buckets\n", "    return buckets[:-1]\n")],
    ),
    Fault(
        "empty_first",
        "Leaves the first bucket empty where the first tensor is larger than its limit.",
        edits=[("    room = 0\n", "    buckets, room = [[]], first_bytes\n")],
        hint=Text(
            "Your first bucket was there before its first tensor, which did not fit: a tensor larger than the limit "
            "still goes into a bucket by itself, and none stays empty before it.",
            "你的第一桶在第一个张量到来之前就建好了，而这个张量放不下：超出限额的张量应自成一桶，前面不留空桶。",
        ),
    ),
    Fault(
        "registration_order",
        "Fills buckets in the reverse order of registration, whatever order gradients come in.",
        edits=[("for index in ready:", "for index in reversed(range(len(sizes))):")],
        hint=Text(
            "This is the order of registration, backwards. A graph's backward pass need not follow it: `ready` says "
            "in which order gradients come.",
            "这是注册顺序的逆序。计算图的反向传播不一定按这个顺序；梯度到来的顺序由`ready`给出。",
        ),
    ),
    Fault(
        "first_to_last",
        "Fills buckets from the first tensor to the last.",
        edits=[("for index in ready:", "for index in range(len(sizes)):")],
        hint=Text(
            "You filled buckets from the first tensor to the last. The backward pass reaches the last layers first.",
            "你从第一个张量装到了最后一个。反向传播先到达的是最后几层。",
        ),
    ),
    Fault(
        "closes_too_late",
        "Closes a bucket once it has reached its limit, which the last tensor may exceed by far.",
        edits=[("sizes[index] > room", "room <= 0")],
        hint=Text(
            "The last tensor of this bucket no longer fitted. Close a bucket before the tensor that would overfill it, "
            "not after.",
            "这一桶的最后一个张量已经放不下了。应在会超出限额的张量之前关桶，而不是之后。",
        ),
    ),
    Fault(
        "first_bucket_as_large",
        "Gives the first bucket the limit of all the others.",
        edits=[("bucket_bytes if buckets else first_bytes", "bucket_bytes")],
        hint=Text(
            "The first bucket has a limit of its own, `first_bytes`: the network is idle until it leaves.",
            "第一桶有自己的限额`first_bytes`：它发出之前，网络一直闲着。",
        ),
    ),
    Fault(
        "a_message_each",
        "Sends every gradient by itself: no limit is exceeded, and every latency is paid.",
        edits=[("if not buckets or sizes[index] > room:", "if True:")],
        hint=Text(
            "Each gradient has a message of its own, and each message costs a latency. Fill the buckets.",
            "每个梯度各发一条消息，每条消息都有一次延迟。应把桶装满。",
        ),
    ),
    Fault(
        "all_done",
        "Returns the moment at which all is sent.",
        edits=[(RESULT, "return free")],
        hint=Text(
            "This is the moment at which all is done. Asked for is the time since the last gradient came.",
            "这是全部完成的时刻。要求的是从最后一个梯度到来算起的时间。",
        ),
    ),
    Fault(
        "no_latency",
        "Forgets the latency of a message.",
        edits=[(" + alpha", "")],
        hint=Text(
            "The latency is missing: every bucket costs alpha, however small it is.",
            "漏了延迟：一桶无论多小，都要付一次alpha。",
        ),
    ),
    Fault(
        "all_messages",
        "Adds up all messages, also those that travel while the backward pass computes.",
        edits=[("free = max(free, complete) +", "free +="), (RESULT, "return free")],
        hint=Text(
            "You added up all messages. Those that travel while the backward pass still computes are not exposed.",
            "你把所有消息的时间加了起来。反向传播还在计算时就发出的那部分，已经被掩盖了。",
        ),
    ),
    Fault(
        "network_from_the_start",
        "Lets the network work from second 0 on.",
        edits=[("free = max(free, complete) +", "free +=")],
        hint=Text(
            "The network does not work from second 0 on: it is idle until the first bucket is complete, and "
            "whenever the next one is not.",
            "网络并不是从第0秒就开始工作的：第一桶到齐之前，以及每当下一桶还没有到齐时，它都闲着。",
        ),
    ),
    Fault(
        "never_waits",
        "Lets the last bucket leave at once, though the one before it is still on the wire.",
        edits=[("max(free, complete)", "complete")],
        hint=Text(
            "You took the last bucket alone. It may have to wait: the bucket before it is still being sent.",
            "你只看了最后一桶。它可能要等：前一桶还没有发完。",
        ),
    ),
    Fault(
        "rounded",
        "Rounds to whole microseconds.",
        edits=[(RESULT, "return round(free - max(ready_at), 6)")],
    ),
]
