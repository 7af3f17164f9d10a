"""A store's labels as files for people and other tools.

`settings` says what is asked for, `names` what files are called; `painting` makes pictures of windows, `drawing` whole
pictures that are read by windows; `png`, `tiff` and `geotiff` write those; `files` writes the files of one image.
"""
