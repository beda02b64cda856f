"""The fate of packets we received: what to acknowledge, and when (RFC 9000 s13.2)."""
