"""What mkdocs does besides: it adds the reference, the notebook, and the pages beside the README.

mkdocs calls these functions by their names.
"""

import json
import re
from typing import Any

from mkdocs.structure.files import File, Files

from coinbase_assets_tests.documentation import reference
from coinbase_assets_tests.processes import PROJECT

_ROOT_PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_NOTEBOOK = PROJECT / "docs" / "notebook.ipynb"
_GENERATED = {
    "commands": reference.commands,
    "settings": reference.settings,
    "columns": reference.tables,
}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are not files in `docs/`."""
    for name in _ROOT_PAGES:
        text = (PROJECT / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, name.lower(), content=_with_site_links(text)))
    files.append(File.generated(config, "notebook.md", content=_notebook_page()))
    return files


def on_page_markdown(markdown: str, **page: Any) -> str:
    """Put what is made from the code in its places, and let links lead to pages of the site."""
    made = re.sub(r"<!-- generated: (\w+) -->", lambda mark: _GENERATED[mark[1]](), markdown)
    return _with_site_links(made).replace("notebook.ipynb)", "notebook.md)")


def _with_site_links(text: str) -> str:
    for name in _ROOT_PAGES:
        text = re.sub(rf"\]\(((?:\.\./)*){name}", _to_page, text)
    return text.replace("](decisions)", "](decisions/index.md)")


def _to_page(link: re.Match[str]) -> str:
    name = link[0].rpartition("/")[2].removeprefix("](")
    return f"]({link[1].removeprefix('../')}{name.lower()}"


def _notebook_page() -> str:
    """Return the notebook's cells as Markdown."""
    cells = json.loads(_NOTEBOOK.read_text())["cells"]
    return "\n\n".join(
        "".join(cell["source"])
        if cell["cell_type"] == "markdown"
        else f"```python\n{''.join(cell['source'])}\n```"
        for cell in cells
    )
