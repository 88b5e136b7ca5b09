"""Fingerspelling videos rendered on the spot: the embedded data set that needs no download.

Nothing in here imports torch, so that the worker processes of the renderer start fast.
"""
