"""A linear layer whose weights are stored in fewer bits than it computes with.

    float32      as they are                              4 bytes a weight
    float16      rounded; 11 bits of precision            2        largest 65,504
    bfloat16     rounded;  8 bits of precision            2        float32's range
    int8         w[n, k] ~ scale[n] * q[n, k]             1        scale[n] = max |w[n, :]| / 127, a number for each row

    y = (x q^T) * scale + bias       products and sums in float32: the scale is applied to the result

Where a step is bound by the reading of weights, half the bytes are half the time, whatever the arithmetic. Only
weights are rounded; activations are not. Absolute maxima by row: Dettmers et al., LLM.int8(), arXiv 2208.07339,
section 2. Production stores a scale for 32 weights or so (llama.cpp's Q8_0), calibrates, and computes in int8 where
the hardware has products for it.

Shapes: N outputs, K inputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHT_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}


class QuantizedLinear(nn.Module):
    """[..., K] to [..., N], in float32, from weights stored as `dtype`, a name in WEIGHT_DTYPES.

    Raises:
        ValueError: an unknown dtype, or weights that float16 can't hold.
    """

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None, dtype: str) -> None:
        super().__init__()
        if dtype not in WEIGHT_DTYPES:
            raise ValueError(f"weights can't be stored as {dtype!r}: choose one of {', '.join(WEIGHT_DTYPES)}")
        weight_NK = weight_NK.detach().float()
        scale_N = None
        if dtype == "int8":
            scale_N = weight_NK.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
            weight_NK = (weight_NK / scale_N[:, None]).round()
        stored_NK = weight_NK.to(WEIGHT_DTYPES[dtype])
        if dtype == "float16" and not stored_NK.isfinite().all():
            raise ValueError("a weight exceeds what float16 can hold (65,504): store the weights as bfloat16")
        self.register_buffer("weight", stored_NK)
        self.register_buffer("scale", scale_N)
        self.register_buffer("bias", None if bias_N is None else bias_N.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """Multiply in float32; a compiler widens the weights as it reads them."""
        y = F.linear(x, self.weight.to(x.dtype))
        if self.scale is not None:
            y = y * self.scale
        return y if self.bias is None else y + self.bias


def quantize_linears(module: nn.Module, dtype: str) -> None:
    """Put a `QuantizedLinear` in the place of every linear layer inside `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, QuantizedLinear(child.weight, child.bias, dtype))
        else:
            quantize_linears(child, dtype)
