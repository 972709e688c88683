"""`python -m training.reliability`: the command of `training.measure.reliability`, under its short name."""

from training.measure.reliability import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
