"""Reads the code in docs/, and runs programs."""

import os
import pathlib
import re
import subprocess

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def client(language, heading="Clients", page="api.md"):
    """Returns the only code block in this language in a section."""
    _, section = (DOCS / page).read_text().split(f"\n## {heading}\n")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", section.split("\n## ")[0], re.MULTILINE | re.DOTALL)
    return block


def run(*command, text=None, **environment):
    """Runs a command, which must succeed, and returns its output."""
    done = subprocess.run(
        command, input=text, env=os.environ | environment, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout}{done.stderr}"
    return done.stdout
