"""What every package's tests may use: see support.fixtures, in database-service's tests."""

pytest_plugins = ["support.fixtures"]
