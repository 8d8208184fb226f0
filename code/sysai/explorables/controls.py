"""Controls that several explorables share: which model, which device, which format, how many."""

from collections.abc import Iterable

from sysai.core.language import Text
from sysai.explorables.explorable import NO_TEXT, Choice, Slider
from sysai.hardware.devices import DEVICES
from sysai.models.presets import PRESETS


def slug(name: str) -> str:
    """A model's or device's name as an address writes it: `llama-3-8b`."""
    return name.lower().replace(" ", "-")


MODELS = {slug(name): config for name, config in PRESETS.items()}
CHIPS = {slug(name): device for name, device in DEVICES.items()}
BYTES = {"fp32": 4, "bf16": 2, "fp8": 1, "int4": 0.5}
"""Bytes of one value; the scales that come with fp8 and int4 are left out."""

TOKENS: Text = {"en": "tokens", "zh": "个词元"}
REQUESTS: Text = {"en": "requests", "zh": "个请求"}


def same(name: str) -> Text:
    """A name that is the same in both languages."""
    return {"en": name, "zh": name}


def model_choice(default: str = "llama-3-8b", help: Text = NO_TEXT) -> Choice:
    """One of the presets."""
    options = {key: same(config.name) for key, config in MODELS.items()}
    return Choice("model", {"en": "Model", "zh": "模型"}, options, default, help)


def device_choice(default: str = "nvidia-h100-sxm", help: Text = NO_TEXT) -> Choice:
    """One of the devices."""
    options = {key: same(device.name) for key, device in CHIPS.items()}
    return Choice("device", {"en": "Device", "zh": "设备"}, options, default, help)


def precision_choice(formats: Iterable[str], default: str = "bf16", help: Text = NO_TEXT) -> Choice:
    """One of the number formats in `BYTES`."""
    return Choice("precision", {"en": "Precision", "zh": "精度"}, {f: same(f) for f in formats}, default, help)


def doubling(name: str, label: Text, first: int, last: int, default: int, unit: Text, help: Text) -> Slider:
    """A slider over `first`, twice that, and so on up to `last`."""
    values = [first]
    while values[-1] < last:
        values.append(2 * values[-1])
    return Slider(name, label, tuple(values), default, unit, help)
