"""The JSON the contract promises, and how domain values are rendered into it."""
