"""The package that the textbook System for Artificial Intelligence stands on."""
