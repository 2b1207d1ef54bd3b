"""Celery, seen from the sender's side: the application and the nudge. A message is only an id and may be lost."""
