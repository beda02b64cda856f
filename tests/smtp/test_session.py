"""Our client and our server together, without a network between them."""

from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.smtp import Client, DeliveryReport, Envelope, Limits, Outcome, Reply, Server, SessionEnded
from tests.smtp.dialogue import client_events, converse, cut, singly

LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"text", b"\xfc\xff", b"x" * 998]), max_size=12)
TEXTS = LINES.map(lambda lines: b"".join(line + b"\r\n" for line in lines))
PATHS = st.lists(
    st.sampled_from(["a@mx.example", "b@mx.example", "no@mx.example", "later@mx.example", "Postmaster"]),
    min_size=1,
    max_size=4,
).map(tuple)
ENVELOPES = st.builds(Envelope, st.sampled_from(["", "me@client.example"]), PATHS, TEXTS)


def accepts(forward_path: str) -> Reply | None:
    refusals = {"no@mx.example": 550, "later@mx.example": 450}
    code = refusals.get(forward_path)
    return None if code is None else Reply(code, (f"{code // 100}.2.1 not now",))


@given(st.lists(ENVELOPES, max_size=5), st.booleans(), st.lists(st.integers(1, 500), min_size=1, max_size=5))
def test_what_is_accepted_arrives_once_and_as_it_was(
    envelopes: list[Envelope], pipelining: bool, sizes: list[int]
) -> None:
    client = Client(domain="client.example", pipelining=pipelining)
    server = Server(domain="mx.example", accepts=accepts)
    for token, envelope in enumerate(envelopes):
        client.submit(envelope, token)
    client.quit()
    _, received = converse(client, server, lambda data: iter(cut(data, sizes)))
    *told, end = client_events(client)
    expected = []
    for event, envelope in zip([event for event in told if isinstance(event, DeliveryReport)], envelopes, strict=True):
        accepted = tuple(path for path in envelope.forward_paths if accepts(path) is None)
        assert event.accepted == accepted
        if accepted:
            expected.append(Envelope(envelope.reverse_path, accepted, envelope.mail_data))
    assert received == expected
    assert end == SessionEnded("QUIT", is_clean=True)
    assert server.done


def test_pipelining_costs_one_flight_for_each_message() -> None:
    for pipelining, flights in ((True, 2 + 10), (False, 1 + 10 * 4 + 1)):
        client = Client(domain="client.example", pipelining=pipelining)
        for token in range(10):
            client.submit(Envelope("", ("a@mx.example",), b"text\r\n"), token)
        client.quit()
        assert converse(client, Server(domain="mx.example"))[0] == flights


def test_the_recipients_that_are_too_many_for_one_transaction_go_in_another() -> None:
    client = Client(domain="client.example")
    paths = tuple(f"u{i}@mx.example" for i in range(101))
    client.submit(Envelope("", paths, b""), token=1)
    client.quit()
    _, envelopes = converse(client, Server(domain="mx.example"), singly)
    _, report, _ = client_events(client)
    assert isinstance(report, DeliveryReport)
    assert (report.accepted, report.refused) == (paths, ())
    assert [envelope.forward_paths for envelope in envelopes] == [paths[:100], paths[100:]]


def test_a_message_the_server_did_not_announce_a_limit_for_is_refused_by_it() -> None:
    client = Client(domain="client.example")
    server = Server(domain="mx.example", limits=Limits(text_line_octets=100))
    for token, length in enumerate((98, 99, 98)):
        client.submit(Envelope("", ("a@mx.example",), b"x" * length + b"\r\n"), token)
    converse(client, server)
    outcomes = [event.outcome for event in client_events(client) if isinstance(event, DeliveryReport)]
    assert outcomes == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]
