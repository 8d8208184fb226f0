"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "forward_only",
        "Counts the forward pass of attention alone, and forgets that training goes back as well.",
        told="This is the forward pass alone. The backward pass takes two",
        text="""\
def attention_flops(config, sequence, skip_masked):
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    forward = 2 * config.n_layers * config.n_heads * sequence * (config.head_dim + value_dim)
    return forward * (0.5 if skip_masked else 1.0)


def utilization(active_parameters, tokens, device_hours, peak, attention_per_token=0.0):
    rate = (6 * active_parameters + attention_per_token) * tokens / (3600 * device_hours)
    return rate, rate / peak
""",
    ),
    Fault(
        "hours_as_seconds",
        "Divides by hours where seconds are meant.",
        told="Per hour instead of per second.",
        text="""\
def attention_flops(config, sequence, skip_masked):
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    whole = 6 * config.n_layers * config.n_heads * sequence * (config.head_dim + value_dim)
    return whole / 2 if skip_masked else whole


def utilization(active_parameters, tokens, device_hours, peak, attention_per_token=0.0):
    rate = (6 * active_parameters + attention_per_token) * tokens / device_hours
    return rate, rate / peak
""",
    ),
    Fault(
        "one_head_size",
        "Takes 12 L H K T for every model, though latent attention has narrower values.",
        told="12 L H K T holds where a value is as wide as a key. Here a",
        text="""\
def attention_flops(config, sequence, skip_masked):
    whole = 12 * config.n_layers * config.n_heads * config.head_dim * sequence
    return whole / 2 if skip_masked else whole


def utilization(active_parameters, tokens, device_hours, peak, attention_per_token=0.0):
    rate = (6 * active_parameters + attention_per_token) * tokens / (3600 * device_hours)
    return rate, rate / peak
""",
    ),
    Fault(
        "two_n",
        "Counts 2N FLOPs a token, the forward pass, for a training run.",
        told="2N a token is the forward pass. Training takes 6N.",
        text="""\
def attention_flops(config, sequence, skip_masked):
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    whole = 6 * config.n_layers * config.n_heads * sequence * (config.head_dim + value_dim)
    return whole / 2 if skip_masked else whole


def utilization(active_parameters, tokens, device_hours, peak, attention_per_token=0.0):
    rate = (2 * active_parameters + attention_per_token) * tokens / (3600 * device_hours)
    return rate, rate / peak
""",
    ),
]
