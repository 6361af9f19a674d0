"""A service of eventsource-py, for tests beside real workers of it.

    python peer.py --url URL --group GROUP consume [--fail N]
    python peer.py --url URL --group GROUP publish ORDER...
    python peer.py --url URL --group GROUP dead-letters
    python peer.py --url URL --group GROUP replay MESSAGE_ID

Every command connects first, which declares exchange, queue and dead-letter queue of the group as the
library does. What a test waits for goes to standard output, a line each: `ready`, `handled ORDER`,
`failed ORDER`, `published ORDER`, `dead MESSAGE_ID RETRIES ERROR_TYPE REASON`, `replayed true`.
"""

import argparse
import asyncio
import signal
from uuid import NAMESPACE_URL, uuid5

from eventsource import DomainEvent, register_event
from eventsource.adapters.rabbitmq import RabbitMQEventBus, RabbitMQEventBusConfig


@register_event
class OrderPlaced(DomainEvent):
    event_type: str = "OrderPlaced"
    aggregate_type: str = "Order"
    order_id: str
    total: int


def say(*words):
    print(*words, flush=True)


async def consume(bus, fail):
    """Handles events until told to end; fails the first `fail` of them."""
    left = fail

    async def handle(event):
        nonlocal left
        if left > 0:
            left -= 1
            say("failed", event.order_id)
            raise ValueError("no ink: ünïcode")
        say("handled", event.order_id)

    bus.subscribe(OrderPlaced, handle)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    running = asyncio.create_task(bus.start_consuming())
    say("ready")
    await asyncio.wait([running, asyncio.create_task(ended.wait())], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        # The library's worker ended by itself: the test wants to know why.
        running.result()
        raise SystemExit("the consumer ended by itself")
    running.cancel()


async def publish(bus, orders):
    for order in orders:
        event = OrderPlaced(
            aggregate_id=uuid5(NAMESPACE_URL, order), aggregate_version=1, order_id=order, total=9
        )
        await bus.publish([event])
        say("published", order)


async def dead_letters(bus):
    # It rejects each message back before it takes the next, and so sees the first one again and again.
    seen = {message.message_id: message for message in await bus.get_dlq_messages(limit=10)}
    for message in seen.values():
        reason = (message.dlq_reason or "").replace("\n", " ")
        say("dead", message.message_id, message.dlq_retry_count, message.dlq_error_type, reason)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--exchange", default="events")
    parser.add_argument("--group", required=True)
    parser.add_argument("--max-retries", type=int, default=3)
    parser.add_argument("--prefetch", type=int, default=1)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("consume").add_argument("--fail", type=int, default=0)
    commands.add_parser("publish").add_argument("orders", nargs="+")
    commands.add_parser("dead-letters")
    commands.add_parser("replay").add_argument("message_id")
    args = parser.parse_args()

    bus = RabbitMQEventBus(
        RabbitMQEventBusConfig(
            rabbitmq_url=args.url,
            exchange_name=args.exchange,
            consumer_group=args.group,
            prefetch_count=args.prefetch,
            max_retries=args.max_retries,
            retry_base_delay=0.05,
            retry_max_delay=0.2,
            shutdown_timeout=2.0,
        )
    )
    await bus.connect()
    try:
        match args.command:
            case "consume":
                await consume(bus, args.fail)
            case "publish":
                await publish(bus, args.orders)
            case "dead-letters":
                await dead_letters(bus)
            case "replay":
                replayed = await bus.replay_dlq_message(args.message_id)
                say("replayed", str(replayed).lower())
    finally:
        await bus.disconnect()


asyncio.run(main())
