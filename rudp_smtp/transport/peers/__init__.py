"""Other people's transports behind our protocol, so that one scenario compares them with ours.

`quic` is aioquic, `kcp` is KCP's own C code: optional packages, imported when a scenario asks for one of them. What
both adapters need and ours do not is here once, in `connection`: commands, streams' accounts, events. `quic_adapter`
and `kcp_adapter` say the rest.

A peer is measured by what it hands over to be sent. What it does not tell, and its datagrams do not show, is named in
`TransportStats.untold` and stays empty in tables.
"""
