"""What the tests of instance-service share. What they share with database-service's is in its `support`."""
