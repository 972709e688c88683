"""`python -m emostream`."""

from emostream.cli import main

if __name__ == "__main__":
    main()
