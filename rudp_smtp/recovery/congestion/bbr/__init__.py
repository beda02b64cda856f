"""BBR: rate and window follow a model of the path, its bandwidth and its round trip, and not each loss.

After draft-ietf-ccwg-bbr (version 3 of the algorithm, "the draft" here; sections are of its revision 06): `phases` is
its state machine, `model` its estimates, `path` what they say together, `rounds` its packet-timed round trips, `losses`
what losses mean, `allowance` rate and window with their bounds, `waiting` when to probe, `controller` the decisions.

Our main departure is what loss means. The draft takes more than 2 % lost in a flight, and any loss while cruising, for
congestion. On a path that loses 5 or 10 % of everything anyway, that gives most of the bandwidth up; its first version,
which took no notice of loss, floods a short queue. Here loss is congestion as far as it *exceeds what the path loses
whatever we do*, which `baseline` estimates:

- It learns from rounds in which we did not accelerate and the round trip was short, so that no queue could overflow;
  how far losses scatter from round to round (bursts) says how much more is beyond chance. Too much is 2 % above that,
  and 2.5 standard deviations. Where nothing is lost at random this is the draft's rule.
- It is believed only where queues show in the round trip. On a path without a queue, or where others keep it full,
  every round looks alike, losses that we cause look random, and answering them by sending more would never end. A low
  loss rate is believed wherever it is seen; a high one up to 15 %; what is a cycle old half; and what was learned
  before the shortest round trip became shorter not at all.
- Bandwidth is the rate at which packets *pass*, those lost at random included: a pace at the rate of what arrives would
  leave some of the path unused in every cycle. While cruising, a queue that stands corrects it.

Smaller ones, marked where they are: no margin of 1 % below the bandwidth while there is no queue to drain; an empty
queue just seen puts PROBE_RTT off; a bound that a probe has found too high gives way by 15 % where loss is never
random, so that shares beside a Reno flow become equal within seconds; what the draft draws is mixed from what the flow
knows.
"""

from rudp_smtp.recovery.congestion.bbr.controller import Bbr

__all__ = ["Bbr"]
