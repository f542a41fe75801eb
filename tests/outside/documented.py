"""Reads the client code in docs/api.md."""

import pathlib
import re

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "api.md"


def client(language, heading="Clients"):
    """Returns the only code block in this language in a section."""
    _, section = PAGE.read_text().split(f"\n## {heading}\n")
    section = section.split("\n## ", 1)[0]
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{len(blocks)} blocks of {language}"
    return blocks[0]
