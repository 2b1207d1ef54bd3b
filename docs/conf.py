"""The manual as HTML: `make docs`. It fetches nothing, neither when it is built nor when it is read."""

project = "database-service"
copyright = "the database-service authors"  # noqa: A001  Sphinx names it so

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "database-service"
html_copy_source = False
html_show_sphinx = False
