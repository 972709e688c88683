"""`python -m training.model_card`: the command of `training.tools.model_card`, under its short name."""

from training.tools.model_card import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
