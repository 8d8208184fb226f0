"""Takes 12 L H K T for every model, though latent attention has narrower values."""


def attention_flops(config, sequence, skip_masked):
    whole = 12 * config.n_layers * config.n_heads * config.head_dim * sequence
    return whole / 2 if skip_masked else whole


def utilization(active_parameters, tokens, device_hours, peak, attention_per_token=0.0):
    rate = (6 * active_parameters + attention_per_token) * tokens / (3600 * device_hours)
    return rate, rate / peak
