"""Where files lie: the protocol of a store, and the stores that exist."""
