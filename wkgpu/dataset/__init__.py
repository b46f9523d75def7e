"""What a user holds: datasets, layers, mags and views, and the properties file that describes them."""
