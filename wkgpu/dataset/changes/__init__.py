"""Changes of a dataset: folders, and with them the entries of the properties file that list them."""
