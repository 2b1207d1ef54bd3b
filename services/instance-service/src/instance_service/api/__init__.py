"""The HTTP door: parse, call one verb or view, render."""
