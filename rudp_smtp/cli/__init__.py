"""The commands of `rudp-smtp`."""
