"""The Celery door: names other services call, and one event loop that runs the reconcilers."""
