"""`python -m training.template`: the command of `training.tools.template`, under its short name."""

from training.tools.template import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
