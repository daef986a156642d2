"""Numbers that bound what a site tells, for those who need no more than them."""

from __future__ import annotations

# The smallest count that a guarded site shows unless it is told otherwise.
DEFAULT_MINIMUM = 5
# Many more resamples behind an interval would link each image's results with each other.
MOST_DRAWS = 200
