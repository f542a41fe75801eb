"""The code in README.md, as it stands there."""

import pathlib
import re

README = pathlib.Path(__file__).parents[2] / "README.md"


def client(language):
    """The one block of this language in the section on clients."""
    _, section = README.read_text().split("\n## Clients\n")
    section, _ = section.split("\n## ", 1)
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{len(blocks)} blocks of {language}"
    return blocks[0]
