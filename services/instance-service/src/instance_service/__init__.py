"""Instances of applications, each with a database of its own."""

__version__ = "0.1.0"
