"""The trace fields a server puts in front of a message (RFC 5321 section 4.4).

Nothing behind them is changed: octets in, a field in front, the same octets out.
"""

from datetime import UTC, datetime
from email.utils import format_datetime

from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.units import SECOND


def trace_fields(envelope: Envelope, *, domain: str, now: int, trace_id: str = "") -> bytes:
    """Return-Path and Received, as the server making the final delivery prepends them (RFC 5321 section 4.4)."""
    return_path = f"Return-Path: <{envelope.reverse_path}>\r\n".encode()
    return return_path + received_field(envelope, domain=domain, now=now, trace_id=trace_id)


def received_field(envelope: Envelope, *, domain: str, now: int, trace_id: str = "") -> bytes:
    """What every server on the way prepends. `now` is ns since the Unix epoch; `trace_id`, an atom, is what this
    server calls the message."""
    date = format_datetime(datetime.fromtimestamp(now // SECOND, UTC))
    identity = f" id {trace_id}" if trace_id else ""
    # Naming one of several recipients to another would tell who was in Bcc (RFC 5321 section 7.2).
    recipient = f"\r\n\tfor <{envelope.forward_paths[0]}>" if len(envelope.forward_paths) == 1 else ""
    return (
        f"Received: from {envelope.client_domain or 'unknown'}\r\n"
        f"\tby {domain} with {envelope.protocol}{identity}{recipient};\r\n"
        f"\t{date}\r\n"
    ).encode()
