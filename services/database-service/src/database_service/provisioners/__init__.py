"""Where servers come from: make, find, stop and remove them. No SQL, none of our rows, and none knows another."""
