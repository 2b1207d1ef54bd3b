"""The verbs: one transaction that changes what is wanted; a step does the rest."""
