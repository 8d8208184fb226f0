"""Tuning: a space of schedules, searched by evolution, guided by a learned model, decided by measurement."""
