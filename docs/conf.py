"""Sphinx settings of the documentation."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "autocelery"
author = "The autocelery authors"
copyright = "The autocelery authors"  # noqa: A001
version = release = installed_version("autocelery")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "autocelery"
autodoc_typehints = "description"
