"""Make the world match a row: one step, one id, safe to run twice."""
