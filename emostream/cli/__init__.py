"""The command line: a file per command; `app.py` puts them together."""


def main() -> None:
    """Run the command line and exit with its code."""
    from emostream.cli.app import main as run

    run()
