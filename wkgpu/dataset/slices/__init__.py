"""Reading and writing a box slice by slice, many slices at a time."""
