"""`python -m training.framing`: the command of `training.tools.framing`, under its short name."""

from training.tools.framing import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
