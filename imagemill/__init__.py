"""Imagemill: a list of images in, finished pictures out, every item accounted for."""

__version__ = "0.1.0"
