"""RFC 5321 over any ordered byte stream; it would work over TCP unchanged."""
