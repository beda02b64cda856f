"""The fate of packets we sent (RFC 9002): loss detection, timers, congestion control and pacing, as plug-ins."""
