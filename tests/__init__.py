"""The tests. Nothing that they import or start reports home."""

import emostream as emostream  # first: it sets the switches
