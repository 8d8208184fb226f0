import pytest
import torch
import torch.distributed as dist
from sysai.distributed.launch import RankError, run
from sysai.distributed.mesh import Mesh
from torch.distributed.device_mesh import init_device_mesh

SHAPES = [{"dp": 4}, {"dp": 2, "pp": 2}, {"pp": 4, "dp": 1}, {"dp": 1, "pp": 3}, {"a": 1, "b": 2, "c": 1}, {"w": 1}]


def lines(world, shape):
    mesh, theirs = Mesh(shape), init_device_mesh("cpu", tuple(shape.values()), mesh_dim_names=tuple(shape))
    result = {}
    for name in shape:
        axis = mesh[name]
        total = torch.tensor([float(world.rank)])
        dist.all_reduce(total, group=axis.group)
        same = list(axis.ranks) == dist.get_process_group_ranks(theirs.get_group(name))
        result[name] = (
            axis.ranks,
            axis.rank,
            axis.size,
            total.item(),
            same and axis.rank == theirs.get_local_rank(name),
        )
    return mesh.coordinates, result


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lines_are_those_of_torchs_device_mesh_and_their_groups_work(shape):
    world_size = torch.Size(shape.values()).numel()
    for rank, (coordinates, axes) in enumerate(run(lines, world_size, shape)):
        assert list(coordinates) == list(shape)
        for name, (ranks, own, size, total, same) in axes.items():
            assert ranks[own] == rank
            assert (own, size, total) == (coordinates[name], shape[name], sum(ranks))
            assert same


def test_the_last_axis_is_fastest():
    coordinates = run(lambda world: Mesh({"dp": 2, "pp": 2}).coordinates, 4)
    assert [tuple(c.values()) for c in coordinates] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("shape", "message"),
    [({"dp": 2, "pp": 2}, "dp 2 x pp 2 has 4 places but the job has 2 ranks"), ({"dp": 0}, "positive"), ({}, "axis")],
)
def test_a_shape_that_does_not_fit_is_refused(shape, message):
    with pytest.raises(RankError, match=message):
        run(lambda world: Mesh(shape), 2)


def test_an_unknown_axis_names_the_known_ones():
    with pytest.raises(RankError, match="no axis 'tp': its axes are dp, pp"):
        run(lambda world: Mesh({"dp": 1, "pp": 1})["tp"], 1)
