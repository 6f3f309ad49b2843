"""Lists the links that lead out of the documentation beside the build; `make links` asks them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def write_list(app: Sphinx, problem: Exception | None) -> None:
    """Write every outside address and the pages it stands on; warn of one without encryption."""
    if problem is not None or app.builder.format != "html":
        return
    pages: defaultdict[str, set[str]] = defaultdict(set)
    for page in app.env.found_docs:
        for reference in app.env.get_doctree(page).findall(nodes.reference):
            address = str(reference.get("refuri", ""))
            if address.startswith("http://127.0.0.1"):
                continue
            if "://" in address:
                pages[address].add(page)
            if address.startswith("http://"):
                logger.warning("%s is not https", address, location=page)
    lines = [f"{address}  {', '.join(sorted(pages[address]))}\n" for address in sorted(pages)]
    target = Path(app.outdir).parent / "outside-links.txt"
    target.write_text("".join(lines))
    logger.info("%d links lead outside; they are in %s", len(lines), target)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("build-finished", write_list)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
