"""Where databases come from: database-service, by its client alone. No SQL, none of our rows."""
