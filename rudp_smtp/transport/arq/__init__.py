"""Textbook ARQ, each protocol a complete transport: sequence numbers of a stated width, reused; ACKs; a timer.

Read Tanenbaum, Computer Networks, section 3.4, and Kurose and Ross, Computer Networking, section 3.4. What makes the
three protocols differ is in their own files, as a `Sender` and a `Receiver` (`protocol`): stop_and_wait, go_back_n,
selective_repeat. What they share: `frame` (the wire), `segments` (streams cut into what frames carry), `timer` (when
silence has lasted too long), `connection` (opening, closing), `books` (what became of frames), `endpoint` (whose a
datagram is).

A sequence number that is reused can be taken for another of the same value. Over a path that keeps the order, that
never happens, whatever is lost or duplicated, if the window is small enough for the numbers (`parameters`). A path
that reorders by more than the numbers reach round delivers wrong octets, and nobody can tell: the reason why `rudp`
never reuses a packet number.
"""
