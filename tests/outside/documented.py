"""Reads the code in docs/."""

import pathlib
import re

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def client(language, heading="Clients", page="api.md"):
    """Returns the only code block in this language in a section."""
    _, section = (DOCS / page).read_text().split(f"\n## {heading}\n")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", section.split("\n## ")[0], re.MULTILINE | re.DOTALL)
    return block
