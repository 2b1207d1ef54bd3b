"""Who may ask: whoever has the one token this service was given."""
