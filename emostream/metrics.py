"""`python -m emostream.metrics` prints `docs/metrics.md`; metrics are declared in `emostream.telemetry.metrics`."""

from emostream.telemetry.metrics import metrics_page

if __name__ == "__main__":
    print(metrics_page(), end="")
