"""`python -m training.curves`: the command of `training.loop.curves`, under its short name."""

from training.loop.curves import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
