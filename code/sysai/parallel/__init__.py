"""Training one model on several devices: by data, by shards of its state, by layers, by operators."""
