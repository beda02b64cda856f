"""BBR: rate and window follow a model of the path, its bandwidth and its round trip, not each loss."""

from rudp_smtp.recovery.congestion.bbr.controller import Bbr

__all__ = ["Bbr"]
