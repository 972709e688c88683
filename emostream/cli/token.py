"""`emostream token`: makes access tokens for the HTTP interface."""

from __future__ import annotations

import json as json_format
import secrets
from typing import Annotated

import typer

from emostream.cli.options import JsonOption, tell
from emostream.service.api.tokens import Scope, token_hash

token_app = typer.Typer(help="Make access tokens for the HTTP interface.", no_args_is_help=True)

_NUM_BYTES = 32


@token_app.callback()
def _token() -> None:
    """Make access tokens for the HTTP interface."""


@token_app.command(
    epilog="Example: export EMOSTREAM_SERVICE_TOKEN=$(emostream token new --name operator --scope write)"
)
def new(
    *,
    name: Annotated[str, typer.Option(help="Name of the token in settings and logs.", metavar="NAME")] = "me",
    scope: Annotated[
        Scope,
        typer.Option(
            help="read: look at everything. fetch: also let the service fetch pictures from URLs. write: also add, "
            "change and delete streams and jobs."
        ),
    ] = "read",
    json: JsonOption = False,
) -> None:
    """Make a random token and print it, with the settings that let it in.

    The token goes to standard output and is kept nowhere; the settings hold its hash only.
    """
    token = secrets.token_urlsafe(_NUM_BYTES)
    entry = {"name": name, "sha256": token_hash(token), "scopes": [scope]}
    if json:
        typer.echo(json_format.dumps({"token": token, **entry}))
        return
    typer.echo(token)
    # JSON strings are YAML strings, whatever the name holds.
    tell("the token is shown once. Add this to the settings of the service:")
    tell(f"service:\n  tokens:\n    - {json_format.dumps(entry, ensure_ascii=False)}")
