"""What leaves the page as a file: maps with the settings they were made with, as numbers and as a page of its own.

Pictures are drawn in `ui/pictures`.
"""
