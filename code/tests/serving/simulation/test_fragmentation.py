"""Contiguous and paged reservations: vLLM's figure 2 comes out of the allocators, and the buddies are sound."""

import math
import random
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.serving.simulation.fragmentation import BuddyAllocator, PagedMemory, measure_fragmentation, memories

ORACLE = tomllib.loads((Path(__file__).parents[3] / "oracles" / "kv_cache_waste.toml").read_text())


def lengths(seed: int, count: int = 1000) -> list[tuple[int, int]]:
    """Log-normal with the published means and a sigma of 1, cut where longer than the model's positions."""
    generator = random.Random(seed)

    def draw(mean: float, most: int) -> int:
        return max(1, min(most, round(generator.lognormvariate(math.log(mean) - 0.5, 1.0))))

    prompts = [draw(ORACLE["mean_prompt"], ORACLE["max_length"] // 2) for _ in range(count)]
    return [(prompt, draw(ORACLE["mean_output"], ORACLE["max_length"] - prompt)) for prompt in prompts]


@pytest.mark.parametrize("policy", ["max", "pow2", "oracle", "paged"])
def test_the_shares_are_those_of_vllms_figure(policy):
    positions = ORACLE["positions"]
    memory = memories(positions, ORACLE["max_length"], ORACLE["block_size"])[policy]
    waste = measure_fragmentation(memory, positions, lengths(seed=1))
    for name, share in ORACLE[policy].items():
        tolerance = ORACLE["tolerance" if name == "used" else "tolerance_waste"]
        assert getattr(waste, name) == pytest.approx(share, abs=tolerance), name
    assert waste.used + waste.reserved + waste.internal + waste.external == pytest.approx(1)


def test_the_longest_reservation_admits_seven_sequences_as_published():
    memory = memories(ORACLE["positions"], ORACLE["max_length"], ORACLE["block_size"])["max"]
    assert measure_fragmentation(memory, ORACLE["positions"], lengths(seed=2)).running == pytest.approx(7.0, abs=0.01)


@given(block_size=st.integers(1, 64))
def test_pages_waste_less_than_a_block_a_sequence(block_size):
    positions = 64 * block_size
    waste = measure_fragmentation(PagedMemory(positions, block_size), positions, [(block_size, 3 * block_size)] * 40)
    assert (waste.reserved + waste.internal) * positions <= waste.running * (block_size - 1) + 1e-9


@given(positions=st.integers(1, 300), data=st.data())
def test_buddies_never_overlap_and_rejoin_when_all_are_free(positions, data):
    allocator, held = BuddyAllocator(positions), []
    longest = 1 << (positions.bit_length() - 1)
    for _ in range(data.draw(st.integers(0, 40))):
        if held and data.draw(st.booleans()):
            allocator.free(held.pop(data.draw(st.integers(0, len(held) - 1))))
        else:
            wanted = data.draw(st.integers(1, positions))
            piece = allocator.allocate(wanted)
            if piece:
                assert piece[1] >= wanted
                held.append(piece)
        taken = [p for start, size in held for p in range(start, start + size)]
        assert len(taken) == len(set(taken)), "two pieces overlap"
        assert all(0 <= p < positions for p in taken)
    for piece in held:
        allocator.free(piece)
    assert allocator.allocate(longest) == (0, longest), "the memory has not become whole again"


def test_what_can_not_be_measured_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        measure_fragmentation(PagedMemory(64, 16), 64, [(100, 1)])
    with pytest.raises(ValueError, match="give more sequences"):
        measure_fragmentation(PagedMemory(64, 16), 64, [(1, 1)])
    with pytest.raises(ValueError, match="positions"):
        BuddyAllocator(0)
