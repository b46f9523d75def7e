from datasets import dataset, layer, mag_view, saved, view, volume, webknossos  # noqa: F401 - fixtures
