"""The client over the real API, where there is no stand-in for it: long work, pages, waiting callers."""
