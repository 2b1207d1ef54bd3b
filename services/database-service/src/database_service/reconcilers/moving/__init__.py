"""The moves of one database, one module for each stretch of the way; `reconcilers.moves` says which comes next."""
