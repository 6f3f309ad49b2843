"""How Sphinx builds these pages; `make docs` does."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_extensions"))

# The reference is generated from the code, and models need a project to be imported in.
import_module("page_project").configure(":memory:")

project = "fluxio-django"
author = "The fluxio-django authors"
copyright = "the fluxio-django authors"
release = version = installed_version("fluxio-django")
language = "en"
# Quotes and dashes stand in code as often as in prose; what is typed has to be what is shown.
smartquotes = False

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "from_the_code",
    "outside_links",
]
exclude_patterns = ["_build"]

# A table of contents whose first page is still to come is no mistake (Sphinx gives this warning no
# type, so that it cannot be named in `suppress_warnings`); a link that leads nowhere is one.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: getattr(record, "subtype", None) != "empty_glob"
)

# --- pages in Markdown

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4

# --- the reference

# Docstrings have names in single backticks: a link where Sphinx knows the name, else plain code.
default_role = "py:obj"
add_module_names = False
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
viewcode_follow_imported_members = True

# --- links: those between pages are checked by every build, the others by `make links`

linkcheck_timeout = 10
linkcheck_retries = 1
linkcheck_ignore = [r"http://127\.0\.0\.1"]  # what the reader starts

# --- looks

html_theme = "furo"
html_title = f"fluxio-django {release}"
html_static_path = ["_static"]
html_css_files = ["fluxio.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
