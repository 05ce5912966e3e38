"""Streams: the event log in pages and snapshots, made once for all who watch."""
