"""Sets the forward pass of attention, 4 L H K T, against 6N."""

from sysai.models.formulas import parameters


def understatement(config, sequence, skip_masked):
    return 1 + sequence / equal_length(config, skip_masked)


def equal_length(config, skip_masked):
    per_position = 4 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1)
    return 6 * parameters(config).active / per_position
