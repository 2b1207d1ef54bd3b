"""Instances of applications, each with a database of its own."""
