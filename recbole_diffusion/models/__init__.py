"""The models, a folder a paper.

A folder's ``MODELS`` names its models for ``settings.registry``: where each is ("module:class"),
its trainer, and the function that draws its figures, if it has one. A module with a dot in front is
in the folder.
"""
