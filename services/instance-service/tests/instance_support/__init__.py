"""What the tests of instance-service share."""
