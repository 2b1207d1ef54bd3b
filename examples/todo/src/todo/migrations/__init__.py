"""The schema, step by step: each file is run once, in the order of their names, and never edited afterwards."""
