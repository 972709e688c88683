"""`emostream models`: the model store."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emostream.commands.options import ConfigOption, JsonOption, notes, settings_for_command
from emostream.models.store import ModelStore

models_app = typer.Typer(help="List, pull and verify model files.", no_args_is_help=True)
