"""OpenID Connect, the authorization code flow with PKCE: the way to an identity provider, and what it says on return.

Knows no page and no cookie: a `Flow` is what has to come back with the browser that it was begun in.
"""
