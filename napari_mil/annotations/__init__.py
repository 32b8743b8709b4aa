"""Annotations: read and write outlines that people drew."""
