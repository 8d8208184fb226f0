"""Divides by hours where seconds are meant."""


def attention_flops(config, sequence, skip_masked):
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    whole = 6 * config.n_layers * config.n_heads * sequence * (config.head_dim + value_dim)
    return whole / 2 if skip_masked else whole


def utilization(active_parameters, tokens, device_hours, peak, attention_per_token=0.0):
    rate = (6 * active_parameters + attention_per_token) * tokens / device_hours
    return rate, rate / peak
