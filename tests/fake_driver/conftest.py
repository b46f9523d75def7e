"""Only processes on the fake driver import what they start with."""

collect_ignore = ["startup"]
