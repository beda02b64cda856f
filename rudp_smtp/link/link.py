"""Link: one direction of a path, from the sender's interface to the receiver's. `config` has the order of stages.

The fate of a packet depends on the seed, the link's name and the packet's index alone, so it is decided at the
entrance: neither sizes nor times nor what the queue does to others can change it. A duplicate draws under a
name of its own, and so has a fate of its own.

The transmitter is moved lazily, at the exact times it had something to do, whenever the link is asked: a packet costs
the driver one event, its arrival. Facts carry the time they happened, which the moment they are told may follow.
"""

from collections import deque
from collections.abc import Collection
from fractions import Fraction
from heapq import heappop, heappush

from rudp_smtp.datagram import CE, UNLABELLED, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.link.bits import draw_places, flip
from rudp_smtp.link.bursts import CappedEvents
from rudp_smtp.link.config import CorruptConfig, LinkConfig, RateConfig, ReorderConfig
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, DelayDistribution
from rudp_smtp.link.fates import Fates, places_by_packet
from rudp_smtp.link.loss import LOSS_MODELS, LossModel
from rudp_smtp.link.match import MatchRules, Reader
from rudp_smtp.link.opportunities import Opportunities
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.link.slots import Slots
from rudp_smtp.link.stats import LinkStats, Periods
from rudp_smtp.trace import LinkFate, Sink
from rudp_smtp.units import SECOND

NEVER = 1 << 62  # later than any time there is: 146 years


class _Draws:
    """One key per purpose, made once: those of the originals, or those of their copies."""

    __slots__ = ("bits", "corrupt", "delay", "loss", "reorder")

    def __init__(self, draws: DrawKey, link: str, copy: str) -> None:
        self.loss = draws.derive(link, copy, "loss")
        self.corrupt = draws.derive(link, copy, "corrupt")
        self.bits = draws.derive(link, copy, "bits")
        self.delay = draws.derive(link, copy, "delay")
        self.reorder = draws.derive(link, copy, "reorder")


class Link:
    """Owns the packets on their way: waiting in the queue, being serialised, or in flight.

    `draws` is all the randomness there is; `name` tells this link's part of it, and its facts, from another's. What is
    decided by it is put down in `fates`, if any.
    """

    def __init__(
        self,
        config: LinkConfig,
        *,
        name: str,
        draws: DrawKey,
        sink: Sink | None = None,
        reader: Reader | None = None,
        fates: Fates | None = None,
    ) -> None:
        self.config = config
        self.name = name
        self.stats = LinkStats()
        self._periods = Periods()
        self._sink = sink
        self._fates = fates
        self._header_bytes = config.header_bytes
        self._mtu = self._mtu_now = NEVER if config.mtu is None else config.mtu  # none at all in a black hole

        self._draws = (_Draws(draws, name, "original"), _Draws(draws, name, "copy"))
        self._reader = reader
        self._rules = MatchRules(config.match, reader) if config.match else None
        self._rule_draws = draws.derive(name, "match")
        self._duplicate_draws = draws.derive(name, "duplicate")
        self._loss = _loss_model(config)
        self._loss_began = 0  # the first index that this model decided about
        self._expected_before = Fraction(0)  # packets lost in theory by the models before it
        self._is_loss_late = config.where == "egress"
        self._copy_loss = _copy_loss_model(config)
        self._set_impairments(config)
        self._capped_damage = _capped(config.corrupt)
        self._gap_left = config.reorder.gap - 1 if config.reorder else 0

        seed = draws.seed if config.queue_seed is None else config.queue_seed
        self._queue_draws = DrawKey(seed, name, "queue")
        self._queue = self._make_queue(config)
        self._waiting = 0  # its length, which is asked for several times for every packet
        self._dropped: list[QueuedPacket] = []
        self._set_rate(config.rate)
        self._free_at = 0 if config.rate else NEVER  # when the transmitter has finished the packet it has
        self._remainder = 0  # of the last division, so that rounding does not add up over a busy period

        self._slot_draws = draws.derive(name, "slot")
        self._ordered_until = 0  # with keep_order: the latest arrival so far
        # No packet overtakes another, so a push never brings the next arrival forward.
        can_overtake = config.reorder is not None or any(rule.delay for rule in config.match)
        self.is_fifo = not can_overtake and (config.delay.jitter == 0 or config.delay.keep_order)
        self._set_delay(config)
        self._arrivals = 0
        self._line: deque[tuple[int, int, bytes, Label]] = deque()  # in flight, where none overtakes another
        self._heap: list[tuple[int, int, bytes, Label]] = []  # in flight otherwise: (arrival, insertion count, ...)

    def change(self, config: LinkConfig, now: int) -> None:
        """Be another link from now on. What is inside stays inside; a packet under way keeps its time of arrival.

        A loss model or queue that is not the same begins anew; packets join the new queue as the old one serves them.
        """
        if self._free_at <= now and self._waiting:
            self._catch_up(now)
        if self.is_fifo:  # a delay that shrinks lets later packets overtake
            self.is_fifo = False
            self._heap.extend(self._line)
            self._line.clear()
        self._periods.close(self.config, self.stats)
        old, self.config = self.config, config
        self._header_bytes = config.header_bytes
        is_blackhole = self._mtu_now < 0
        self._mtu = NEVER if config.mtu is None else config.mtu
        self.set_blackhole(is_blackhole)
        if config.match != old.match:
            self._rules = MatchRules(config.match, self._reader) if config.match else None
        if config.loss != old.loss:
            self._expected_before = self._expected_losses()
            self._loss, self._loss_began = _loss_model(config), self.stats.packets_entered
        self._is_loss_late = config.where == "egress"
        if (config.loss, config.where, config.duplicate) != (old.loss, old.where, old.duplicate):
            self._copy_loss = _copy_loss_model(config)
        self._set_impairments(config)
        if config.corrupt != old.corrupt:
            self._capped_damage = _capped(config.corrupt)
        if config.reorder != old.reorder:
            self._gap_left = config.reorder.gap - 1 if config.reorder else 0
        self._set_delay(config)
        self._change_transmitter(old, config, now)

    def _set_impairments(self, config: LinkConfig) -> None:
        corrupt, reorder = config.corrupt, config.reorder
        self._duplicated = frozenset(config.duplicated)
        self._flips = None if corrupt is None or corrupt.flips is None else places_by_packet(corrupt.flips)
        self._displaced = None
        if reorder is not None and reorder.packets is not None:
            self._displaced = (frozenset(reorder.packets), frozenset(reorder.copies))
        self._is_impaired = bool(config.duplicate or config.duplicated or corrupt or reorder)

    def set_blackhole(self, is_on: bool) -> None:
        """Lose whatever enters from now on, or no longer."""
        self._mtu_now = -1 if is_on else self._mtu

    def _change_transmitter(self, old: LinkConfig, config: LinkConfig, now: int) -> None:
        waiting = self._queue
        if config.queue != old.queue:
            self._queue = self._make_queue(config)
            while (packet := waiting.dequeue(now, self._dropped)) is not None:
                self._queue.enqueue(packet, now, self._dropped)
        if config.rate != old.rate:
            self._set_rate(config.rate)
            self._remainder = 0
            self.stats.busy_periods += 1
            if config.rate is None:
                self._free_at = NEVER
                while (packet := self._queue.dequeue(now, self._dropped)) is not None:
                    self._depart(packet, now)
            elif old.rate is None:
                self._free_at = now
        if self._dropped:
            self._account_dropped(now)
        self._waiting = len(self._queue)

    def _make_queue(self, config: LinkConfig) -> QueueDiscipline:
        queue = QUEUE_DISCIPLINES.build(config.queue)
        queue.draws = self._queue_draws
        return queue

    def _set_delay(self, config: LinkConfig) -> None:
        delay = config.delay
        self._delay = delay.time
        self._slots = Slots(config.slot, self._slot_draws, self._fates) if config.slot else None
        self._distribution = DELAY_DISTRIBUTIONS.build(delay.distribution) if delay.jitter else None
        # No packet that has yet to be serialised can arrive sooner than this after it was.
        is_early = delay.jitter or (config.reorder is not None and config.reorder.hold is None)
        self._delay_min = 0 if is_early else delay.time

    def _set_rate(self, rate: RateConfig | None) -> None:
        self._rate = rate.bits_per_second if rate else 0
        self._overhead = rate.packet_overhead if rate else 0
        self._cell_size = rate.cell_size if rate else 0
        self._cell_octets = rate.cell_size + rate.cell_overhead if rate else 0
        self._opportunities = Opportunities(rate.trace) if rate and rate.trace else None

    def push(self, data: bytes, now: int, label: Label = UNLABELLED) -> None:
        """Take a datagram in at the entrance; the label comes out with it, marked perhaps."""
        stats = self.stats
        index = stats.packets_entered
        size = len(data) + self._header_bytes
        stats.packets_entered = index + 1
        stats.octets_entered += size
        if index == 0:
            stats.entered_first = now
        is_lost = self._loss is not None and self._loss.drops(index, self._draws[0].loss)
        if is_lost:
            stats.packets_doomed += 1
            if self._fates is not None:
                self._fates.lost.append(index)
        packet = QueuedPacket(index, 0, data, size, now, is_lost, label)
        if self._rules is not None and not self._obey_rules(self._rules, packet, now):
            return
        if size > self._mtu_now:
            self._swallow(packet, now)
            return
        if is_lost and not self._is_loss_late:
            self._lose(packet, now)
            return
        if not self._is_impaired:
            self._admit(packet, now)
            return
        is_candidate = self._gap_left == 0
        copy = self._duplicate(packet)
        self._impair(packet, is_candidate)
        self._admit(packet, now)
        if copy is not None:
            self._impair(copy, is_candidate)
            self._admit(copy, now)

    def next_datagram(self, now: int) -> tuple[bytes, Label] | None:
        """The next datagram that has arrived by now, if any."""
        if self._free_at <= now and self._waiting:
            self._catch_up(now)
        if self.is_fifo:
            line = self._line
            if not line or line[0][0] > now:
                return None
            arrival, _, data, label = line.popleft()
        else:
            heap = self._heap
            if not heap or heap[0][0] > now:
                return None
            arrival, _, data, label = heappop(heap)
        stats = self.stats
        stats.packets_delivered += 1
        stats.octets_delivered += len(data) + self._header_bytes
        stats.delivered_last = arrival
        return data, label

    def next_timeout(self) -> int | None:
        """When to ask again: no datagram arrives before."""
        if self.is_fifo:
            if self._line:
                return self._line[0][0]
            return self._free_at + self._delay_min if self._waiting else None
        arrival = self._heap[0][0] if self._heap else NEVER
        if self._waiting:
            arrival = min(arrival, self._free_at + self._delay_min)
        return arrival if arrival < NEVER else None

    def periods(self) -> tuple[tuple[LinkConfig, LinkStats], ...]:
        """Every configuration it has had, and what was counted under each."""
        return self._periods.until_now(self.config, self.stats)

    @property
    def busy_until(self) -> int | None:
        """When the transmitter was, or will be, through with the last packet it took; None without a rate."""
        return self._free_at if self._rate else None

    @property
    def in_transit(self) -> int:
        """Packets inside: entered or duplicated, and neither delivered nor dropped so far."""
        return self._waiting + len(self._line) + len(self._heap)

    @property
    def packets_judged(self) -> int:
        """How many packets the loss model decided about: what the achieved loss is a share of."""
        stats = self.stats
        if self._is_loss_late:
            return stats.packets_lost + stats.packets_delayed
        return stats.packets_entered - stats.packets_matched - stats.packets_too_big - stats.packets_blackholed

    def expected_loss(self) -> Fraction:
        """The share of the packets so far that the loss model loses in theory."""
        entered = self.stats.packets_entered
        if entered == 0:
            return self._loss.expected_loss(0) if self._loss is not None else Fraction(0)
        return self._expected_losses() / entered

    def _expected_losses(self) -> Fraction:
        if self._loss is None:
            return self._expected_before
        entered, began = self.stats.packets_entered, self._loss_began
        ours = self._loss.expected_loss(entered) * entered - self._loss.expected_loss(began) * began
        return self._expected_before + ours

    def _obey_rules(self, rules: MatchRules, packet: QueuedPacket, now: int) -> bool:
        """Do what the rules say; whether the packet goes on."""
        place = rules.judge(packet.data, packet.size, packet.label)
        if place is None:
            return True
        rule = self.config.match[place]
        if rule.action == "drop":
            self.stats.packets_matched += 1
            self.stats.octets_matched += packet.size
            if self._sink is not None:
                self._tell(packet, now, "dropped_by_rule")
            return False
        if rule.action == "corrupt":
            bits = rule.flips or draw_places(8 * len(packet.data), 1, packet.index, self._rule_draws)
            if self._fates is not None and rule.flips is None:
                found = self._fates.rule_flips.setdefault(place, [])
                found.extend((rules.counts[place], bit) for bit in bits)
            self._corrupt(packet, bits)
        elif rule.action == "delay":
            assert rule.delay is not None
            packet.held = rule.delay
        elif packet.size <= self._mtu_now:
            self._admit(self._copy(packet, is_lost=False), now)
        return True

    # The entrance: duplicate, corrupt, and what the reorder stage will do.

    def _duplicate(self, packet: QueuedPacket) -> QueuedPacket | None:
        index = packet.index
        is_lost = self._copy_loss is not None and self._copy_loss.drops(index, self._draws[1].loss)
        stats = self.stats
        if index not in self._duplicated:
            stats.duplicate_draws += 1
            if not self._duplicate_draws.happens(index, self.config.duplicate):
                return None
            stats.duplicates_drawn += 1
        if self._fates is not None:
            self._fates.duplicated.append(index)
            if is_lost:
                self._fates.copies_lost.append(index)
        return self._copy(packet, is_lost=is_lost)

    def _copy(self, packet: QueuedPacket, *, is_lost: bool) -> QueuedPacket:
        self.stats.packets_duplicated += 1
        self.stats.octets_duplicated += packet.size
        if self._sink is not None:
            self._tell(packet, packet.enqueued, "duplicated")
        return QueuedPacket(packet.index, 1, packet.data, packet.size, packet.enqueued, is_lost, packet.label)

    def _impair(self, packet: QueuedPacket, is_candidate: bool) -> None:
        corrupt, reorder = self.config.corrupt, self.config.reorder
        if corrupt is not None and packet.data:
            places = self._places_to_flip(packet, corrupt)
            if places:
                self._corrupt(packet, places)
                if self._fates is not None:
                    self._fates.flips.extend((packet.index, packet.copy, place) for place in places)
        if reorder is not None:
            self._displace(packet, reorder, is_candidate)
            if packet.is_displaced and self._fates is not None:
                (self._fates.copies_displaced if packet.copy else self._fates.displaced).append(packet.index)

    def _places_to_flip(self, packet: QueuedPacket, corrupt: CorruptConfig) -> Collection[int]:
        if self._flips is not None:
            return self._flips.get((packet.index, packet.copy), ())
        draws, stats = self._draws[packet.copy], self.stats
        stats.corrupt_draws += 1
        capped = self._capped_damage
        is_damaged = (
            draws.corrupt.happens(packet.index, corrupt.probability)
            if capped is None
            else capped.happens(packet.index, draws.corrupt)
        )
        if not is_damaged:
            return ()
        stats.corruptions_drawn += 1
        return draw_places(8 * len(packet.data), corrupt.bits, packet.index, draws.bits)

    def _displace(self, packet: QueuedPacket, reorder: ReorderConfig, is_candidate: bool) -> None:
        if self._displaced is not None:
            packet.is_displaced = packet.index in self._displaced[packet.copy]
            return
        stats = self.stats
        if is_candidate:
            draws = self._draws[packet.copy].reorder
            packet.is_displaced = draws.happens(packet.index, reorder.probability)
        if packet.copy == 0:  # a copy does not count as a packet of the gap
            stats.reorder_draws += is_candidate
            stats.reorders_drawn += packet.is_displaced
            self._gap_left = reorder.gap - 1 if packet.is_displaced else max(0, self._gap_left - 1)

    def _corrupt(self, packet: QueuedPacket, places: Collection[int]) -> None:
        packet.data = flip(packet.data, places)
        self.stats.packets_corrupted += 1
        self.stats.octets_corrupted += packet.size
        if self._sink is not None:
            self._tell(packet, packet.enqueued, "corrupted")

    # Queue and rate.

    def _admit(self, packet: QueuedPacket, now: int) -> None:
        if self._rate == 0:
            self._depart(packet, now)
            return
        queue = self._queue
        if self._free_at <= now and self._waiting:
            self._catch_up(now)
        queue.enqueue(packet, now, self._dropped)
        self._waiting += 1
        if self._dropped:
            self._account_dropped(now)
        if self._free_at <= now:
            if self._free_at < now:
                self._free_at = now
                self._remainder = 0
                self.stats.busy_periods += 1
            self._serialise()
            return
        stats = self.stats
        waiting = self._waiting
        if waiting > stats.queue_packets_max:
            stats.queue_packets_max = waiting
        if queue.octets > stats.queue_octets_max:
            stats.queue_octets_max = queue.octets

    def _catch_up(self, now: int) -> None:
        """Do what the transmitter did since it was last looked at."""
        while self._free_at <= now and self._waiting:
            self._serialise()

    def _serialise(self) -> None:
        """Start on the next packet at the moment the transmitter is free; all about its departure is known then."""
        start = self._free_at
        packet = self._queue.dequeue(start, self._dropped)
        if self._dropped:
            self._account_dropped(start)
        if packet is None:
            return
        self._waiting -= 1
        octets = packet.size + self._overhead
        if octets < 0:
            octets = 0
        if self._cell_size:
            octets = -(-octets // self._cell_size) * self._cell_octets
        if self._opportunities is not None:
            duration = self._opportunities.send(octets, start) - start
        else:
            duration, self._remainder = divmod(octets * 8 * SECOND + self._remainder, self._rate)
        self._free_at = departure = start + duration
        stats = self.stats
        waited = start - packet.enqueued
        stats.queue_time += waited
        if waited > stats.queue_time_max:
            stats.queue_time_max = waited
        stats.packets_serialised += 1
        stats.octets_serialised += octets
        stats.serialisation_time += duration
        if packet.label.ecn == CE:
            stats.packets_marked += 1
            if self._sink is not None:
                self._tell(packet, start, "marked")
        self._depart(packet, departure)

    # Loss behind the rate, slot, delay, reorder.

    def _depart(self, packet: QueuedPacket, departure: int) -> None:
        if packet.is_lost:
            self._lose(packet, departure)
            return
        if self._slots is not None:
            departure = self._slots.release(departure, packet.size)
        stats = self.stats
        arrival = departure + self._delay
        if self._distribution is not None or packet.is_displaced or packet.held:
            arrival = self._spread(packet, departure)
        stats.packets_delayed += 1
        stats.delay_time += arrival - departure
        self._arrivals += 1
        if self.is_fifo:
            self._line.append((arrival, self._arrivals, packet.data, packet.label))
        else:
            heappush(self._heap, (arrival, self._arrivals, packet.data, packet.label))
        if self._sink is not None:
            self._tell(packet, departure, "passed")

    def _spread(self, packet: QueuedPacket, departure: int) -> int:
        """The arrival of a packet that does not simply take the constant delay."""
        delay, reorder = self.config.delay, self.config.reorder
        drawn = departure + self._delay
        arrival = drawn + packet.held
        if self._distribution is not None:
            offset = self._offset(self._distribution, packet)
            drawn = max(departure, drawn + offset)
            arrival = max(departure, arrival + offset)
        if packet.is_displaced:  # out of order on purpose, so `keep_order` lets it be
            assert reorder is not None
            arrival = departure if reorder.hold is None else arrival + reorder.hold
            self.stats.packets_reordered += 1
            self.stats.octets_reordered += packet.size
            if self._sink is not None:
                self._tell(packet, departure, "reordered")
        elif delay.keep_order and not packet.held:
            arrival = self._ordered_until = max(arrival, self._ordered_until)
        self.stats.detour_time += arrival - drawn
        return arrival

    def _offset(self, distribution: DelayDistribution, packet: QueuedPacket) -> int:
        index, draws, jitter = packet.index, self._draws[packet.copy].delay, self.config.delay.jitter
        if packet.copy:
            offset = distribution.offset_of_copy(index, draws, jitter)
        else:
            offset = distribution.offset(index, draws, jitter)
        if self._fates is not None:
            (self._fates.copies_offsets if packet.copy else self._fates.offsets)[index] = offset
        return offset

    # Where packets end.

    def _swallow(self, packet: QueuedPacket, now: int) -> None:
        """A black hole: no ICMP message tells of it. Its place in the loss model's order is used up all the same."""
        stats = self.stats
        if packet.size <= self._mtu:
            stats.packets_blackholed += 1
            stats.octets_blackholed += packet.size
            if self._sink is not None:
                self._tell(packet, now, "blackholed")
            return
        stats.packets_too_big += 1
        stats.octets_too_big += packet.size
        if self._sink is not None:
            self._tell(packet, now, "too_big")

    def _lose(self, packet: QueuedPacket, now: int) -> None:
        stats = self.stats
        stats.packets_lost += 1
        stats.octets_lost += packet.size
        if self._sink is not None:
            self._tell(packet, now, "lost")

    def _account_dropped(self, now: int) -> None:
        self._waiting -= len(self._dropped)
        for packet in self._dropped:
            self.stats.packets_queue_dropped += 1
            self.stats.octets_queue_dropped += packet.size
            if self._sink is not None:
                self._tell(packet, now, "queue_full")
        self._dropped.clear()

    def _tell(self, packet: QueuedPacket, time: int, fate: str) -> None:
        assert self._sink is not None
        self._sink.emit(LinkFate(time, self.name, packet.index, packet.size, fate))


def _loss_model(config: LinkConfig) -> LossModel | None:
    return LOSS_MODELS.build(config.loss) if config.loss is not None else None


def _capped(corrupt: CorruptConfig | None) -> CappedEvents | None:
    if corrupt is None or corrupt.max_burst is None:
        return None
    return CappedEvents(corrupt.probability, corrupt.max_burst)


def _copy_loss_model(config: LinkConfig) -> LossModel | None:
    """A chain walks each index once, so the copies' fates come from a chain of their own."""
    if config.loss is None or config.where != "egress" or not (config.duplicate or config.duplicated):
        return None
    return LOSS_MODELS.build(config.loss).for_copies()
