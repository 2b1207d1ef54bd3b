"""The hub: pages under `/admin` for the people who run this. The same actions and views as the API, and no others.

May import what the API may; holds no SQL and decides nothing. A page is a template and what a view found; a verb is a form.
"""
