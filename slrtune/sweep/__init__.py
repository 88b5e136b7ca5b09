"""Many trials: search space, searcher, scheduler, and the loop that runs them on the cluster."""

# First, because it sets what Ray reads when it is imported.
import slrtune.cluster  # noqa: F401
