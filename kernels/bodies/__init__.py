"""Loops over rows, written once as plain Python, which every machine compiles with its own compiler."""
