"""The meaning of things, pure: values in, values out. No await, no clock, no randomness, no log, no environment."""
