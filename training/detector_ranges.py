"""`python -m training.detector_ranges`: the command of `training.tools.detector_ranges`, under its short name."""

from training.tools.detector_ranges import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
