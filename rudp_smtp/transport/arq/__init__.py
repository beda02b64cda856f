"""Textbook ARQ, each protocol a complete transport: sequence numbers of a stated width, reused; ACKs; a timer.

Read Tanenbaum, Computer Networks, section 3.4, and Kurose and Ross, Computer Networking, section 3.4. What makes the
three protocols differ is in their own files, as a `Sender` and a `Receiver` (`protocol`): stop_and_wait, go_back_n,
selective_repeat. What they share: `frame` (the wire), `segments` (streams cut into what frames carry), `timer` (when
silence has lasted too long), `connection` (opening, closing), `books` (what became of frames), `endpoint` (whose a
datagram is).

A sequence number that is reused can be taken for another of the same value. Over a path that keeps the order, that
never happens, whatever is lost or duplicated, if the window is small enough for the numbers (`parameters`). Where
something is overtaken, by n others of its kind, no harm is done while the window and n are less than 2**sequence_bits
together (of selective repeat; in other protocols the receiver, but not the sender, counts a window of 1). What a path
holds back for longer delivers wrong octets, and nobody can tell: numbers must not come round within the time that a
datagram may live (RFC 9293 section 3.4.1). That is the reason why `rudp` never reuses a packet number.
"""
