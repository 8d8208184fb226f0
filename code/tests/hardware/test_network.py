"""The bandwidth of a cluster is that of its rings, hop by hop."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.hardware.network import DGX_A100, DGX_H100, Cluster, rings


def seconds_of_rings(cluster, nodes):
    """An all-gather of one byte over all GPUs: the time of the busiest link or NIC, counted hop by hop."""
    g, n = cluster.gpus_per_node, cluster.nics_per_node
    devices, links, nics = nodes * g, Counter(), Counter()
    share = (devices - 1) / devices / n  # of the byte, on each hop of a ring
    for ring in rings(nodes, g, n):
        assert sorted(ring) == list(range(devices))
        for gpu, following in zip(ring, ring[1:] + ring[:1], strict=True):
            if gpu // g == following // g:
                links[gpu] += share / cluster.link_bandwidth
            else:
                nics[gpu // g, gpu % g * n // g] += share / cluster.nic_bandwidth
    return max((links | nics).values()), max(nics.values())


@given(st.sampled_from([1, 2, 4, 8]), st.integers(2, 6), st.data())
def test_the_rate_is_that_of_the_busiest_link(gpus, nodes, data):
    nics = data.draw(st.sampled_from([n for n in (1, 2, 4, 8) if n <= gpus]))
    cluster = Cluster(gpus, nics, data.draw(st.floats(1e9, 1e12)), data.draw(st.floats(1e9, 1e12)))
    devices = nodes * gpus
    busiest, by_network = seconds_of_rings(cluster, nodes)
    predicted = (devices - 1) / devices / cluster.collective_bandwidth(devices)
    assert predicted >= busiest * (1 - 1e-12)
    if cluster.node_bandwidth <= cluster.link_bandwidth:
        assert predicted == pytest.approx(by_network)


def test_published_nodes():
    assert [DGX_H100.collective_bandwidth(n) for n in (1, 8, 9, 64)] == [450e9, 450e9, 400e9, 400e9]
    assert [DGX_A100.collective_bandwidth(n) for n in (8, 16)] == [300e9, 200e9]
    assert DGX_H100.point_to_point_bandwidth == 50e9
    one = Cluster(1, 1, 450e9, 50e9)
    assert (one.collective_bandwidth(2), one.point_to_point_bandwidth) == (50e9, 50e9)
    # nccl-tests, issue 119: bus bandwidth of four 200 Gb/s NICs, at the 24 GB/s that each attains
    assert Cluster(8, 4, 300e9, 24e9).collective_bandwidth(16) == 96e9


def test_gpus_share_what_nics_there_are():
    assert Cluster(8, 4, 300e9, 25e9).point_to_point_bandwidth == 12.5e9


def test_impossible_clusters_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        Cluster(8, 0, 450e9, 50e9)
    with pytest.raises(ValueError, match="at least one device"):
        DGX_H100.collective_bandwidth(0)
    with pytest.raises(ValueError, match="give 1 to 4"):
        rings(2, 4, 5)
