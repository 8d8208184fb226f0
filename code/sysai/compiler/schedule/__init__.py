"""Schedules: how a tensor program runs, apart from what it computes; every primitive checks that it is legal."""
