"""What runs instances: start, find, stop and remove their workloads. No SQL, none of our rows, and none knows another."""
