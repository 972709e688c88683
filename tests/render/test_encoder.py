"""The encoder that is chosen works on this machine; what does not work is replaced, and said."""

from __future__ import annotations

import pytest

from emostream.errors import ConfigError
from emostream.render.encoder import ENCODERS, SOFTWARE, check_encoder, choose_encoder


def test_every_name_leads_to_an_encoder_that_works() -> None:
    for name in ENCODERS:
        check_encoder(name)
        encoder = choose_encoder(name, width=64, height=48)
        assert encoder.name in ENCODERS
        assert encoder.is_fallback == (name not in ("auto", encoder.name))
    assert choose_encoder(SOFTWARE, width=64, height=48).name == SOFTWARE


def test_an_encoder_that_is_none() -> None:
    with pytest.raises(ConfigError, match="auto, "):
        check_encoder("theora")
