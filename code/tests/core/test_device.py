import pytest
import torch
from sysai.core.device import describe_device, select_device


def test_auto_is_a_device_that_computes():
    device = select_device("auto")
    assert torch.ones(2, device=device).sum() == 2


def test_a_torch_device_passes_through():
    assert select_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:3", "", "xpu"])
def test_unknown_or_absent_device_is_one_clear_line(name):
    with pytest.raises(ValueError, match="device") as error:
        select_device(name)
    assert "\n" not in str(error.value)
    assert "use 'auto'" in str(error.value)


def test_description_is_one_line_with_what_a_benchmark_needs():
    info = describe_device("cpu")
    assert info.cores >= 1
    assert info.threads == torch.get_num_threads()
    assert info.memory_bytes is None or info.memory_bytes > 2**28
    assert "\n" not in str(info)
    for part in (info.name, "cpu", torch.__version__):
        assert part in str(info)
