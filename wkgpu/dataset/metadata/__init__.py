"""The properties file of a dataset, and what it says of layers and mags."""
