"""qlog of a run: what each host saw, in the form that QUIC's tools read. `recorder` says what is written.

A run is done once more, listening (`recorder`): the facts of both hosts and the datagrams they are about are gathered
in order (`recording`), become qlog's events (`events`, `packets`), and are written in the current drafts' shape
(`sequence`) or in the older one that qvis opens (`qvis`). Times are virtual, so the same run gives the same octets.
"""
