"""PostgreSQL databases on demand: a control plane."""

__version__ = "0.1.0"
