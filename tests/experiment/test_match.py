"""Match rules: packets chosen by what they are."""

from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.build import RunFacts, execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.link.config import LinkConfig, MatchRule
from rudp_smtp.trace import LinkFate, ListSink, PacketSent
from rudp_smtp.units import MILLISECOND
from tests.experiment.test_events import entered
from tests.experiment.test_scenario import BASE, load, the_refusal
from tests.link.traffic import carried
from tests.live import live

CLEAN = BASE.replace("    loss: {model: random, p: 10%}\n", "")


def ran(folder: Path, text: str, *overrides: tuple[str, str]) -> tuple[RunFacts, ListSink]:
    sink = ListSink()
    return execute(plan(load(folder, text, *overrides))[0], sink), sink


def with_rule(*rules: str) -> str:
    lines = "".join(f"      - {rule}\n" for rule in rules)
    return CLEAN.replace("    rate: 20mbit\n", f"    rate: 20mbit\n    match:\n{lines}")


def test_the_nth_acknowledgement_is_lost(tmp_path: Path) -> None:
    facts, sink = ran(tmp_path, with_rule("{frame: ack, nth: 3, action: drop}"))
    assert facts.stop == "done"
    assert len(entered(sink, "dropped_by_rule")) == 1
    assert facts.forward.stats.packets_matched == 1
    assert facts.forward.stats.packets_lost == 0
    assert facts.forward.packets_judged == facts.forward.stats.packets_entered - 1


def test_the_end_of_a_message_is_lost_on_its_first_and_second_way(tmp_path: Path) -> None:
    end = 'contains: "\\r\\n.\\r\\n"'
    text = with_rule(f"{{{end}, nth: 1, action: drop}}", f"{{{end}, nth: 2, action: drop}}")
    text = text.replace("size: 1KiB}", "size: 1KiB, pipelining: false}")
    facts, sink = ran(tmp_path, text)
    plain, _ = ran(tmp_path, CLEAN)
    assert facts.stop == "done"
    assert len(entered(sink, "dropped_by_rule")) == 2
    assert all(delivery.copies == 1 and delivery.is_intact for delivery in facts.report.deliveries)
    assert facts.end > plain.end


def lost_by_rule(sink: ListSink, link: str = "forward") -> list[int]:
    """The packets' indexes."""
    return [f.index for f in sink.facts if isinstance(f, LinkFate) and (f.fate, f.link) == ("dropped_by_rule", link)]


END = 'contains: "\\r\\n.\\r\\n"'


def test_the_end_of_a_message_is_found_wherever_a_sender_cuts_it(tmp_path: Path) -> None:
    """Messages of all sizes around a packet's: some end with their last octets alone in a packet."""
    text = with_rule(f"{{{END}, nth: 1, action: drop}}")
    alone = set()
    for size in range(1432, 1440):
        workload = ("workload", f"{{name: smtp, messages: 1, size: {size}B, pipelining: false}}")
        _, sink = ran(tmp_path, text, workload, ("transport", "{name: rudp, mtu_discovery: false}"))
        (lost,) = lost_by_rule(sink)
        sent = [fact for fact in sink.facts if isinstance(fact, PacketSent) and fact.host == "client"]
        ((_, start, stop),) = sent[lost].streams
        alone.add(stop - start)
    assert {1, 2, 3, 4} <= alone


def test_the_second_transmission_of_the_end_of_data_is_lost_and_not_the_second_messages(tmp_path: Path) -> None:
    settings = ("workload", "{name: smtp, messages: 3, size: 1KiB, pipelining: false}")
    second = f"{{{END}, transmission: 2, action: drop}}"
    untouched, sink = ran(tmp_path, with_rule(second), settings)
    assert lost_by_rule(sink) == []  # each was sent once only
    again, sink = ran(tmp_path, with_rule(f"{{{END}, transmission: 1, nth: 2, action: drop}}", second), settings)
    assert len(lost_by_rule(sink)) == 2
    assert all(delivery.copies == 1 and delivery.is_intact for delivery in again.report.deliveries)
    assert again.end > untouched.end


def test_fields_and_ports_choose_packets(tmp_path: Path) -> None:
    text = with_rule(
        "{field: RUDP.packet_number, at_least: 3, at_most: 4, action: drop}",
        "{destination_port: 2526, action: drop}",
        "{protocol: tcp, action: drop}",
        "{source_port: 2525, protocol: udp, nth: 9, action: drop}",
    )
    _, sink = ran(tmp_path, text)
    numbers = [f.packet_number for f in sink.facts if isinstance(f, PacketSent) and f.host == "client"]
    assert lost_by_rule(sink) == sorted({numbers.index(3), numbers.index(4), 8})


LIVE = [
    "{field: RUDP.packet_number, equals: 3, action: drop}",
    "{source_port: 2525, destination_port: 2525, protocol: udp, nth: 5, action: drop}",
    "{frame: hello, nth: 1, action: drop}",
    f"{{{END}, transmission: 1, nth: 1, action: drop}}",
]


DRIVERS = ["sim", "udp", pytest.param("netns", marks=live)]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("given", LIVE)
def test_the_same_text_means_the_same_where_packets_are_real(tmp_path: Path, given: str, driver: str) -> None:
    settings = ("workload", "{name: smtp, messages: 1, size: 1KiB, pipelining: false}")
    facts, sink = ran(tmp_path, with_rule(given), settings, ("driver", driver))
    assert facts.stop == "done"
    assert len(lost_by_rule(sink)) == 1


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("transport", "given"),
    [
        ("stop_and_wait", "{frame: syn, nth: 1, action: drop}"),
        ("go_back_n", "{frame: data, nth: 3, action: drop}"),
        ("selective_repeat", "{frame: close, nth: 1, action: drop}"),
        ("go_back_n", f"{{{END}, transmission: 1, nth: 1, action: drop}}"),
    ],
)
def test_frames_of_arq_are_picked_by_their_own_names(tmp_path: Path, transport: str, given: str, driver: str) -> None:
    workload = ("workload", "{name: smtp, messages: 1, size: 1KiB, pipelining: false}")
    facts, sink = ran(tmp_path, with_rule(given), workload, ("driver", driver), ("transport", f"{{name: {transport}}}"))
    assert facts.stop == "done"
    assert len(lost_by_rule(sink)) == 1
    assert [delivery.is_intact for delivery in facts.report.deliveries] == [True]


def test_only_what_all_fields_say_is_picked(tmp_path: Path) -> None:
    number = "{field: RUDP.packet_number, at_most: 6}"
    both = with_rule(f"{{fields: [{number}, {{field: RUDPStream.stream_id, equals: 0}}], action: drop}}")
    one = with_rule("{field: RUDPStream.stream_id, equals: 0, action: drop, nth: 1}")
    facts, _ = ran(tmp_path, both)
    alone, _ = ran(tmp_path, one)
    assert facts.stop == alone.stop == "done"
    assert 1 < facts.forward.stats.packets_matched <= 7
    assert plan(load(tmp_path, both))[0].key != plan(load(tmp_path, one))[0].key


@live
def test_the_end_of_a_message_is_found_in_the_kernels_tcp(tmp_path: Path) -> None:
    """Lost the first two times it is sent, it arrives the third time."""
    text = with_rule(f"{{{END}, transmission: 1, action: drop}}", f"{{{END}, transmission: 2, action: drop}}")
    workload = ("workload", "{name: smtp, messages: 1, size: 64KiB, pipelining: false}")
    facts, sink = ran(tmp_path, text, workload, ("driver", "netns"), ("transport", "{name: tcp}"))
    assert facts.stop == "done"
    assert len(lost_by_rule(sink)) == 2
    assert [delivery.is_intact for delivery in facts.report.deliveries] == [True]


def test_damage_by_a_rule_is_seen_by_the_integrity_check(tmp_path: Path) -> None:
    facts, sink = ran(tmp_path, with_rule("{frame: stream, every: 2, action: corrupt}"))
    assert facts.stop == "done"
    assert facts.forward.stats.packets_corrupted == len(entered(sink, "corrupted")) > 0
    assert all(delivery.is_intact for delivery in facts.report.deliveries)


def rule(link_rule: MatchRule, count: int = 6) -> tuple[list[int], list[int]]:
    traffic = carried(LinkConfig(match=(link_rule,)), [number * MILLISECOND for number in range(count)])
    return traffic.numbers(), traffic.times()


def test_rules_count_from_one_and_by_size() -> None:
    assert rule(MatchRule(action="drop", nth=2))[0] == [0, 2, 3, 4, 5]
    assert rule(MatchRule(action="drop", every=2))[0] == [0, 2, 4]
    assert rule(MatchRule(action="drop", larger=99))[0] == []
    assert rule(MatchRule(action="drop", larger=100))[0] == rule(MatchRule(action="drop", smaller=100))[0]
    assert rule(MatchRule(action="duplicate", nth=3))[0] == [0, 1, 2, 2, 3, 4, 5]


def test_a_packet_held_by_a_rule_is_overtaken() -> None:
    numbers, times = rule(MatchRule(action="delay", delay=2 * MILLISECOND + 1, nth=2))
    assert numbers == [0, 2, 3, 1, 4, 5]
    assert times[3] == 3 * MILLISECOND + 1


def test_without_a_reader_a_rule_about_contents_is_refused() -> None:
    """It would never match, and nobody would be told."""
    with pytest.raises(ConfigError, match="nobody looks into it; expected 'larger' and 'smaller' only"):
        rule(MatchRule(action="drop", frame="ack"))


def test_rules_are_part_of_a_runs_key_and_no_rules_are_not_said(tmp_path: Path) -> None:
    keys = {plan(load(tmp_path, text))[0].key for text in (CLEAN, with_rule("{frame: ack, action: drop}"))}
    assert len(keys) == 2
    assert "match" not in load(tmp_path, CLEAN).cells[0].document


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{frame: akc, action: drop}", ".frame: unknown frame 'akc'; did you mean 'ack'?"),
        ("{frame: ack, action: drpo}", ".action: action 'drpo' does not exist; did you mean 'drop'?"),
        ("{frame: ack}", ": needs the key 'action'"),
        ("{frmae: ack, action: drop}", ".frmae: unknown key 'frmae'; did you mean 'frame'?"),
        ("{frame: ack, action: delay}", ".delay: goes with 'action: delay'"),
        ("{action: drop, delay: 3ms}", ".delay: goes with 'action: delay'"),
        ("{action: drop, nth: 0}", ".nth: 0 counts no packet; expected at least 1"),
        ("{action: drop, nth: 1, every: 2}", ".every: 'every' beside 'nth'"),
        ("{action: drop, contains: ''}", ".contains: no octets are in everything"),
        ("{action: drop, transmission: 2}", ".transmission: of what? expected 'contains' too"),
        ("{action: drop, contains: x, transmission: 0}", ".transmission: 0 counts no packet"),
        (f"{{action: drop, contains: {'x' * 1001}}}", ".contains: 1001 octets are too many to look for"),
        ("{action: drop, source_port: 70000}", ".source_port: 70000 is no port; expected 0 to 65535"),
        ("{action: drop, destination_port: smtp}", ".destination_port: expected a whole number"),
        ("{action: drop, protocol: udq}", ".protocol: protocol 'udq' does not exist; did you mean 'udp'?"),
        ("{action: drop, equals: 5}", ".equals: compares nothing; expected 'field' too"),
        ("{action: drop, not: 5}", ".not: compares nothing; expected 'field' too"),
        ("{action: drop, field: IP.ttl}", ".field: compared with nothing; expected equals, not, at_least, at_most"),
        ("{action: drop, field: IP.ttl, at_least: 5, at_most: 4}", ".at_most: no number is at least 5 and less"),
        ("{action: drop, field: IP.tll, equals: 5}", ".field: IP has no field 'tll'; did you mean 'ttl'?"),
        ("{action: drop, field: IQ.ttl, equals: 5}", ".field: unknown layer 'IQ'; did you mean"),
        ("{action: drop, field: IP.ttl, not: low}", ".not: expected a whole number, as IP.ttl is, got 'low'"),
        ("{action: drop, fields: [{field: IP.ttl}]}", ".fields[0].field: compared with nothing"),
        ("{action: drop, fields: [{equals: 3}]}", ".fields[0]: needs the key 'field'"),
        (
            "{action: drop, fields: [{field: IP.ttl, equals: 5}, {field: IP.tll, equals: 5}]}",
            ".fields[1].field",
        ),
        ("{action: drop, larger: 1000}", ".larger: 1000 has no unit"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_where_it_stands(tmp_path: Path, given: str, words: str) -> None:
    assert the_refusal(tmp_path, with_rule(given)).startswith(f"x.yaml:10: network.both.match[0]{words}")
