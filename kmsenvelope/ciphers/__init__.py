"""The AEADs under chunked encryption."""
