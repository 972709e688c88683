"""`python -m training.robustness`: the command of `training.measure.robustness`, under its short name."""

from training.measure.robustness import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
