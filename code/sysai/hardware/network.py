"""Bandwidth between the GPUs of a cluster: links inside a node, network cards (NICs) out of it, and who may add them.

A ring through nodes of g GPUs leaves a node once, so of its N hops only N/g cross the network. A library such as NCCL
lays one ring for each of a node's n NICs, and each ring carries an n-th of the tensor and leaves by its own NIC. In an
all-gather of M bytes a NIC then sends

    (N - 1) / N * M / n        and each GPU, over its links,   (N - 1) / N * M * (g - 1) / g   where n = g

so the time is that of a ring in which each GPU sends at W = min(link, n * NIC): NICs add up. Reduce-scatter and
all-reduce are the same rings. A message from one GPU to another in another node goes by one NIC, and so does each of
the messages of an all-to-all: those do not add up.

Source: the same count in NCCL's own benchmark, NVIDIA/nccl-tests, doc/PERFORMANCE.md and its authors' answers in
issues 119 (four NICs of 200 Gb/s: 96 GB/s of bus bandwidth), 319 (eight of 400 Gb/s: "up to ~396GB/s with the RING
protocol") and 267 ("Alltoall cannot aggregate the bandwidth of multiple NICs"). Left out: latency, trees, reduction in
the switches (SHARP), contention above the node's switches.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """Equal nodes on one network that is nowhere slower than their NICs.

    Attributes:
        gpus_per_node: GPUs of a node, joined by links (NVLink).
        nics_per_node: NICs of a node.
        link_bandwidth: bytes/s that a GPU sends to the others of its node, in one direction.
        nic_bandwidth: bytes/s that a NIC sends, in one direction.

    Raises:
        ValueError: a quantity that is not positive.
    """

    gpus_per_node: int
    nics_per_node: int
    link_bandwidth: float
    nic_bandwidth: float

    def __post_init__(self) -> None:
        if min(self.gpus_per_node, self.nics_per_node, self.link_bandwidth, self.nic_bandwidth) <= 0:
            raise ValueError(f"{self}: GPUs, NICs and bandwidths must be positive")

    @property
    def node_bandwidth(self) -> float:
        """Bytes/s that leave a node by all its NICs."""
        return self.nics_per_node * self.nic_bandwidth

    def collective_bandwidth(self, devices: int) -> float:
        """Bytes/s that each of `devices` neighbours sends in an all-reduce, all-gather or reduce-scatter.

        Divide by it the bytes that a rank sends, (devices - 1) / devices of the tensor for an all-gather.

        Raises:
            ValueError: devices is not positive.
        """
        if devices < 1:
            raise ValueError(f"a collective has at least one device, got {devices}")
        if devices <= self.gpus_per_node:
            return self.link_bandwidth
        return min(self.link_bandwidth, self.node_bandwidth)

    @property
    def point_to_point_bandwidth(self) -> float:
        """Bytes/s from each GPU to one of another node while all send: one NIC, or a share where NICs are fewer."""
        return min(self.nic_bandwidth, self.node_bandwidth / self.gpus_per_node)


def rings(nodes: int, gpus: int, nics: int) -> list[list[int]]:
    """For each NIC of a node, the order in which its ring visits all GPUs.

    GPU i of node k is number k * gpus + i and sends by NIC i * nics // gpus. A ring goes through all GPUs of a node,
    leaves by its own NIC and enters the next node.

    Raises:
        ValueError: more NICs than GPUs, or none.
    """
    if not 0 < nics <= gpus:
        raise ValueError(f"{nics} NICs for {gpus} GPUs: each ring leaves by the NIC of a GPU, give 1 to {gpus}")
    lasts = [nic * gpus // nics for nic in range(nics)]
    return [[node * gpus + (last + 1 + i) % gpus for node in range(nodes) for i in range(gpus)] for last in lasts]


DGX_H100 = Cluster(gpus_per_node=8, nics_per_node=8, link_bandwidth=450e9, nic_bandwidth=50e9)
DGX_A100 = Cluster(gpus_per_node=8, nics_per_node=8, link_bandwidth=300e9, nic_bandwidth=25e9)
