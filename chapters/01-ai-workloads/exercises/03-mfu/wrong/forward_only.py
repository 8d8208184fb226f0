"""Counts the forward pass of attention alone, and forgets that training goes back as well."""


def attention_flops(config, sequence, skip_masked):
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    forward = 2 * config.n_layers * config.n_heads * sequence * (config.head_dim + value_dim)
    return forward * (0.5 if skip_masked else 1.0)


def utilization(active_parameters, tokens, device_hours, peak, attention_per_token=0.0):
    rate = (6 * active_parameters + attention_per_token) * tokens / (3600 * device_hours)
    return rate, rate / peak
