"""What MkDocs calls while it builds the site (`hooks` in mkdocs.yml).

A page holds the line `<!-- generated: NAME -->` where the text of `PARTS[NAME]` belongs; files outside `docs/` become
pages (`INCLUDED`); a page of the Python interface is made for each public module. Links between files of the
repository lead to the pages that show them; those to other files become their names.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.generators.commands import commands_text
from docs.generators.http import http_text
from docs.generators.settings import settings_text

PARTS: dict[str, Callable[[], str]] = {"commands": commands_text, "http": http_text, "settings": settings_text}
INCLUDED = {
    "README.md": "index.md",
    "training/README.md": "training.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files of the repository → pages of the site."""
PUBLIC_MODULES = (
    "emostream",
    "emostream.analysis.analyzer",
    "emostream.analysis.events",
    "emostream.analysis.faces",
    "emostream.client",
    "emostream.client.http.calls",
    "emostream.config",
    "emostream.errors",
    "emostream.pipeline",
    "emostream.publish.sink",
    "emostream.testing",
    "emostream.vision.classify.classifier",
    "emostream.vision.detect.detector",
)
_FOLDER = "docs"
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation: a page for each public module and each decision."""
    sections = {name: pages for section in config.nav or [] for name, pages in section.items()}
    sections["Reference"].append({"Python": [{module: f"python/{module}.md"} for module in PUBLIC_MODULES]})
    records = sorted(Path(config.docs_dir, "decisions").glob("*.md"))
    sections["Design"].append({"Decisions": [f"decisions/{path.name}" for path in records]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file under `docs/` is written for."""
    root = Path(config.config_file_path).parent
    for name, page in INCLUDED.items():
        files.append(File.generated(config, page, content=(root / name).read_text(encoding="utf-8")))
    for module in PUBLIC_MODULES:
        files.append(File.generated(config, f"python/{module}.md", content=f"# {module}\n\n::: {module}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the generated parts in, and turn the links of the repository into those of the site."""
    source = {shown: name for name, shown in INCLUDED.items()}.get(page.file.src_uri, f"{_FOLDER}/{page.file.src_uri}")
    pages = {file.src_uri for file in files}
    text = _outside_code(markdown, lambda part: site_links(part, source=source, page=page.file.src_uri, pages=pages))
    return _MARK.sub(lambda match: PARTS[match[1]](), text)


def site_links(text: str, *, source: str, page: str, pages: set[str]) -> str:
    """Turn links between files of the repository into links between pages.

    Args:
        text: Markdown of the file.
        source: the file's path in the repository; its links are relative to it.
        page: the page that shows it, relative to `docs/`.
        pages: every file of the site.

    >>> site_links("[a](docs/a.md#b), [code](src/)", source="README.md", page="index.md", pages={"a.md"})
    '[a](a.md#b), code (`src`)'
    """

    def replaced(match: re.Match[str]) -> str:
        mark, label, link = match.groups()
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:") or not path:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        shown = INCLUDED.get(target, target.removeprefix(f"{_FOLDER}/"))
        if shown not in pages:
            return f"`{target}`" if label.strip("`") in (target, path) else f"{label} (`{target}`)"
        relative = posixpath.relpath(shown, posixpath.dirname(page) or ".")
        return f"{mark}[{label}]({relative}{'#' * bool(anchor)}{anchor})"

    return _LINK.sub(replaced, text)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """Apply `change` to everything but fenced blocks."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))
