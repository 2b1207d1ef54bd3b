"""SQL on tenant servers, as their administrator. Never touches our own database."""
