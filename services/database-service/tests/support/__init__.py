"""What tests share: clusters, logins, builders, clocks, faults."""
