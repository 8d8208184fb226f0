"""The decoder-only transformer, its weights and tokenizer, and what it costs."""
