"""Renders HTML pages with Jinja2. Pages load nothing and contain no scripts.

Jinja2 escapes every value. The page's content security policy allows only inline pictures and its own style sheet, and
no scripts, so that even an unescaped value could not run anything.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emostream.domain.redact import printable

_SHARED_TEMPLATES = "emostream.render"
_STYLE = "style.css"


def render_page(package: str, template: str, /, **values: object) -> str:
    """A whole HTML document.

    Args:
        package: import path of the package whose folder `templates` holds the template and its `style.css`. The
            template extends `page.html` and finds `macros.html`, both of `emostream/render/templates`.
        template: file name of the template.
        values: values for the template. Strings are escaped; control characters and undecodable bytes become �.

    Raises:
        jinja2.UndefinedError: the template uses a value that was not given.
    """
    environment = _environment(package)
    # The hash must be that of the exact text between <style> and </style>.
    style = f"\n{environment.get_template(_STYLE).render()}"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    page = environment.get_template(template)
    return page.render(values, style=Markup(style), style_digest=digest)  # noqa: S704  # our own file


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_SHARED_TEMPLATES)]),
        autoescape=True,
        finalize=_without_control_characters,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_url"] = data_url
    return environment


def _without_control_characters(value: Any) -> Any:
    """Applied by Jinja2 to each value before it is escaped. Markup is already safe."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def data_url(picture: bytes) -> str:
    """A PNG or JPEG file as a data URL."""
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
