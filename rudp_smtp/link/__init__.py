"""What a network does to datagrams. Opaque bytes, netem's words, keyed draws; no clock and no sockets."""
