"""Reliable UDP carrying SMTP over impaired paths, simulated and measured."""

__version__ = "0.1.0"
