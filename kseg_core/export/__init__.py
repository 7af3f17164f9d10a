"""A store's labels as files for people and other tools.

`kseg_core.products` says what can be made, and `settings` what is asked for; `drawing` makes whole pictures that are
read by windows; `png` and `tiff` write those, `geojson` outlines; `files` writes the files of one image, and `tables`
tables.
"""
