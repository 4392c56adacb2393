"""The models, a folder a paper."""
