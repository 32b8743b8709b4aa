"""The only rooms that know napari or Qt."""
