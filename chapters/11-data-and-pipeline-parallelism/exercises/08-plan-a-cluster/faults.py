"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

FITS = "if held[stage] + activations <= memory:"
ROUNDS = "rounds = [g + g, g + w, micro_batches * g + w, micro_batches * (g + w + w)]"
NETWORK = "between_nodes = min(link, nics_per_node * nic)"
WITHIN = "bandwidth = link if devices <= gpus_per_node else between_nodes"
RESULT = "return stage, held[stage] + activations, sent, sent / bandwidth"

FAULTS = [
    Fault("three_values", "Returns no seconds.", edits=[(RESULT, "return stage, held[stage] + activations, sent")]),
    Fault(
        "gives_up_on_sharding",
        "Returns None where stage 0 does not fit.",
        edits=[("for stage in range(4):", "for stage in range(1):")],
    ),
    Fault(
        "highest_first",
        "Takes the stage that holds least, not the lowest that fits.",
        edits=[("for stage in range(4):", "for stage in reversed(range(4)):")],
        hint=Text("This stage fits, but a lower one does, too.", "这个阶段放得下，但更低的阶段也放得下。"),
    ),
    Fault(
        "units_have_no_room",
        "Leaves no room for the units that stage 3 gathers.",
        edits=[(FITS, "if held[stage] + activations <= memory + (stage == 3) * gathered:")],
        hint=Text(
            "Stage 3 fits only without the two gathered units: whole weights exist while they compute.",
            "阶段3不算收集来的两个单元才放得下：计算时，它们的权重是完整的。",
        ),
    ),
    Fault(
        "no_activations",
        "Leaves no room for activations.",
        edits=[(FITS, "if held[stage] <= memory:")],
        hint=Text(
            "This stage fits only without the activations. They need room as well.",
            "这个阶段不算激活值才放得下。激活值也要占地方。",
        ),
    ),
    Fault(
        "units_forgotten",
        "Forgets the units that stage 3 gathers.",
        edits=[("(w + g + o) * shard + gathered,", "(w + g + o) * shard,")],
        hint=Text(
            "The two gathered units are missing: 2 largest_unit weights of recipe.weights bytes.",
            "漏了收集来的两个单元：2 largest_unit个权重，每个recipe.weights字节。",
        ),
    ),
    Fault(
        "never_shards",
        "Takes stage 0 whatever it holds.",
        edits=[(FITS, "if True:")],
        told="The picture shows what each stage holds.",
    ),
    Fault(
        "none_is_3",
        "Returns stage 3 where none fits.",
        edits=[("    return None\n", "    return 3, held[3] + activations, 0, 0.0\n")],
    ),
    Fault(
        "activations_not_held",
        "Does not count the activations among the bytes held.",
        edits=[(RESULT, "return stage, held[stage], sent, sent / bandwidth")],
        hint=Text("The activations are missing.", "漏了激活值。"),
    ),
    Fault(
        "one_unit",
        "Gathers one unit at a time.",
        edits=[("gathered = 2 * largest_unit", "gathered = largest_unit")],
        hint=Text(
            "One gathered unit is there while it computes, and the next one is on its way: two.",
            "一个单元在计算，下一个已在路上：收集来的单元有两个。",
        ),
    ),
    Fault(
        "whole_vectors",
        "Counts N shards for each collective; the ring sends N - 1.",
        edits=[("* shard * (devices - 1)", "* shard * devices")],
        hint=Text(
            "This counts N shards. In a ring a device sends N - 1: one chunk it keeps, or need not pass on.",
            "这里算了N个分片。环上一台设备发送N - 1个：有一块留给自己，或者不必再往下传。",
        ),
    ),
    Fault(
        "weights_reduced",
        "Reduces as many bytes as weights have.",
        edits=[(ROUNDS, "rounds = [w + w, w + w, micro_batches * w + w, micro_batches * (w + w + w)]")],
        hint=Text(
            "What is reduced are gradients, of recipe.gradients bytes, and not weights.",
            "归约的是梯度，每个recipe.gradients字节，而不是权重。",
        ),
    ),
    Fault(
        "one_collective",
        "Counts the reduce-scatters and forgets every all-gather.",
        edits=[(ROUNDS, "rounds = [g, g, micro_batches * g, micro_batches * g]")],
        hint=Text(
            "These are the reduce-scatters alone. All-gathers are missing: of gradients in stage 0, of "
            "weights in the others.",
            "这里只有reduce-scatter，漏了all-gather：阶段0收集梯度，其余阶段收集权重。",
        ),
    ),
    Fault(
        "once_a_step",
        "Lets stages 2 and 3 reduce and gather once a step, whatever the micro-batches.",
        edits=[(ROUNDS, ROUNDS.replace("micro_batches * ", ""))],
        hint=Text(
            "Here every micro-batch communicates: this stage has no room to add up whole gradients (nor, in stage "
            "3, to keep whole weights) until the last one.",
            "在这个阶段，每个微批次都要通信：它没有地方把完整的梯度累加到最后一个微批次（阶段3也没有地方保留完整的权重）。",
        ),
    ),
    Fault(
        "every_micro_batch",
        "Lets stages 0 and 1 reduce after every micro-batch.",
        edits=[(ROUNDS, ROUNDS.replace("[g + g, g + w,", "[micro_batches * (g + g), micro_batches * (g + w),"))],
        hint=Text(
            "Stages 0 and 1 keep whole gradients, and add them up over the micro-batches: they reduce once a step.",
            "阶段0、1保留完整的梯度，在各微批次间累加，每步只归约一次。",
        ),
    ),
    Fault(
        "gathered_once",
        "Gathers the weights of stage 3 for the forward pass only.",
        edits=[(ROUNDS, ROUNDS.replace("(g + w + w)", "(g + w)"))],
        hint=Text(
            "The weights are gathered twice for each micro-batch: the backward pass needs them again.",
            "每个微批次要收集两次权重：反向传播还要用一次。",
        ),
    ),
    Fault(
        "gradients_gathered",
        "Gathers as many bytes as gradients have.",
        edits=[(ROUNDS, ROUNDS.replace("w", "g"))],
        hint=Text(
            "What is gathered are weights, of recipe.weights bytes, and not gradients.",
            "收集的是权重，每个recipe.weights字节，而不是梯度。",
        ),
    ),
    Fault(
        "one_nic",
        "Lets one NIC carry what leaves a node.",
        edits=[(NETWORK, "between_nodes = min(link, nic)")],
        hint=Text(
            "This is the rate of a single NIC. Each NIC of a node has a ring of its own: their bandwidths add up.",
            "这是一块网卡的速率。节点的每块网卡各走一个环，带宽要相加。",
        ),
    ),
    Fault(
        "shared_among_gpus",
        "Divides the node's bandwidth by its GPUs, as if each GPU's bytes left the node.",
        edits=[(NETWORK, "between_nodes = min(link, nics_per_node * nic / gpus_per_node)")],
        hint=Text(
            "A ring leaves a node once, whatever the number of its GPUs: do not divide the NICs by the GPUs.",
            "无论节点里有多少块GPU，一个环只离开节点一次：网卡的带宽不必再除以GPU数。",
        ),
    ),
    Fault(
        "links_everywhere",
        "Takes the rate of the links between nodes, too.",
        edits=[(WITHIN, "bandwidth = link")],
        hint=Text(
            "These devices fill more than one node, and here the NICs are slower than the links.",
            "这些设备不止一个节点，而这里网卡比节点内的链路慢。",
        ),
    ),
    Fault(
        "network_everywhere",
        "Takes the network's rate inside a node.",
        edits=[(WITHIN, "bandwidth = between_nodes")],
        hint=Text(
            "All devices are in one node: nothing crosses the network.",
            "所有设备都在同一个节点里：什么都不经过网络。",
        ),
    ),
    Fault(
        "faster_than_links",
        "Forgets that a ring also runs over the links.",
        edits=[(NETWORK, "between_nodes = nics_per_node * nic")],
        hint=Text(
            "Together these NICs are faster than the links, over which most hops of a ring go.",
            "这些网卡加起来比节点内的链路还快，而环的大部分跳走的是链路。",
        ),
    ),
    Fault(
        "whole_seconds",
        "Rounds the seconds to four digits.",
        edits=[(RESULT, "return stage, held[stage] + activations, sent, round(sent / bandwidth, 4)")],
    ),
]
