"""From labelled pictures to the model that ships."""

import emostream as emostream  # first, because it switches off what dependencies would report to their makers
