"""The command line: one file per command, assembled in `app.py`."""


def main() -> None:
    """Run the command line and exit with its exit code."""
    from emostream.cli.app import main as run

    run()
