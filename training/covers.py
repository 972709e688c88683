"""`python -m training.covers`: the command of `training.evidence.train_covers`, under its short name."""

from training.evidence.train_covers import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
