"""The Zarr layout: arrays and metadata of images and models, written, opened, verified, mended."""
