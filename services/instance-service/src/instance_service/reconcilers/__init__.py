"""Make the world match the rows: one step, one id, safe to run twice."""
