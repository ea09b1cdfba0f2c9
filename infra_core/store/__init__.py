"""Remembers what stages made: content-addressed artifacts over fsspec. Does not know what it stores."""
