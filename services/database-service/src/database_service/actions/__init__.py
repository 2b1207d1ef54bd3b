"""The verbs a door can ask for: one transaction of intent, then one step."""
