"""Controls that several explorables share: which model, which device, which format, how many."""

from collections.abc import Iterable, Mapping

from sysai.core.language import Text
from sysai.explorables.explorable import Dropdown, Slider
from sysai.hardware.devices import DEVICES, Device
from sysai.models.config import ModelConfig
from sysai.models.presets import PRESETS

BYTES = {"fp32": 4, "bf16": 2, "fp8": 1, "int4": 0.5}
"""Bytes of one value; the scales that come with narrow formats are left out."""

REQUESTS: Text = Text("requests", "个请求")


def slug(name: str) -> str:
    """A model's or device's name as an address writes it: `llama-3-8b`."""
    return name.lower().replace(" ", "-")


MODELS: dict[str, ModelConfig] = {slug(name): config for name, config in PRESETS.items()}
CHIPS: dict[str, Device] = {slug(name): device for name, device in DEVICES.items()}


def model_choice(help: Text, models: Mapping[str, ModelConfig] = MODELS) -> Dropdown:
    """A control that chooses one of the models."""
    options = {key: _same(config.name) for key, config in models.items()}
    return Dropdown("model", Text("Model", "模型"), options, "llama-3-8b", help)


def precision_choice(help: Text, formats: Iterable[str] = tuple(BYTES)) -> Dropdown:
    """A control that chooses one of the number formats in `BYTES`."""
    options = {name: _same(name) for name in formats}
    return Dropdown("precision", Text("Precision", "精度"), options, "bf16", help)


def device_choice(help: Text) -> Dropdown:
    """A control that chooses one of the devices."""
    options = {key: _same(device.name) for key, device in CHIPS.items()}
    return Dropdown("device", Text("Device", "设备"), options, "nvidia-h100-sxm", help)


def device_count(help: Text) -> Slider:
    """How many devices share the model."""
    label = Text("Number of devices", "设备数")
    return Slider("devices", label, _doubling(1, 64), 1, Text("", "块"), help)


def batch_slider(help: Text, default: int = 16) -> Slider:
    """How many requests are served together."""
    label = Text("Requests at once", "并发请求数")
    return Slider("batch", label, _doubling(1, 1_024), default, REQUESTS, help)


def context_slider(help: Text) -> Slider:
    """How many tokens each request holds."""
    label = Text("Context", "上下文长度")
    return Slider("context", label, _doubling(512, 131_072), 8_192, Text("tokens", "个词元"), help)


def _doubling(first: int, last: int) -> tuple[int, ...]:
    """`first`, twice that, and so on up to `last`."""
    return (first, *_doubling(2 * first, last)) if first < last else (last,)


def _same(name: str) -> Text:
    """A name that is the same in both languages."""
    return Text(name, name)
