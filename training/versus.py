"""`python -m training.versus`: the command of `training.measure.versus`, under its short name."""

from training.measure.versus import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
