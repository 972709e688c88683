"""`python -m training.search`: the command of `training.search.run`, under its short name."""

from training.search.run import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
