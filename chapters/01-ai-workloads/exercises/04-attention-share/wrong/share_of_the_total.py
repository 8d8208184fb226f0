"""Returns attention's part of 6ND, and not the factor by which the total exceeds it."""

from sysai.models.formulas import parameters


def understatement(config, sequence, skip_masked):
    return sequence / equal_length(config, skip_masked)


def equal_length(config, skip_masked):
    per_position = 12 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1)
    return 6 * parameters(config).active / per_position
