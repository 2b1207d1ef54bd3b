"""One tenant database on its way from one server to another: fenced, dumped, restored, compared.

Our administrators read catalogs here and never a tenant's rows; whatever could run a tenant's code is done by a *mover*.
"""
