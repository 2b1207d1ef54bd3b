"""Servers as services of a Docker Swarm. `provisioner` is what others use; `engine` alone speaks to Docker."""
