"""`python -m training.explain`: the command of `training.explain.run`, under its short name."""

from training.explain.run import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
