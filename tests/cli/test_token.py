"""`emostream token new`: a token that the settings it prints let in, and that is nowhere else."""

from __future__ import annotations

import json

import pytest
import yaml

from emostream.cli.app import app
from emostream.config import load_settings
from emostream.service.api.tokens import Tokens
from tests.cli.run import run


@pytest.mark.parametrize("name", ["me", "front desk", "Büro: 1", 'a"b'])
def test_the_settings_let_the_token_in(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "token", "new", "--name", name, "--scope", "write") == 0
    said = capsys.readouterr()
    token = said.out.strip()
    assert len(token) > 30 and token not in said.err
    settings = load_settings(**yaml.safe_load(said.err.partition("\n")[2]))
    entry = Tokens(settings.service.tokens).find(token)
    assert entry is not None and (entry.name, entry.scopes) == (name, ("write",))


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    tokens = set()
    for _ in range(2):
        assert run(app, "token", "new", "--json") == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["name"], shown["scopes"]) == ("me", ["read"])
        tokens.add(shown["token"])
    assert len(tokens) == 2


def test_an_unknown_scope(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "token", "new", "--scope", "all") == 2
    assert "write" in capsys.readouterr().err
