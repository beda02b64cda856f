"""Textbook ARQ, each a complete transport: sequence numbers of a stated width that are reused, ACKs, one timer."""
