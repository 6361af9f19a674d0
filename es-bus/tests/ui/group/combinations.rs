#![allow(dead_code)]
use es_bus::group;

#[group(kind = "quorum", max_priority = 10, auto_delete, durable = false)]
//~^ error 26 «max_priority» `max_priority` and `kind = "quorum"` do not go together: a quorum queue has no priorities, write `kind = "classic"`
//~^^ error 45 «auto_delete» `auto_delete` and `kind = "quorum"` do not go together: a quorum queue always outlives its consumers and the broker, write `kind = "classic"`
//~^^^ error 58 «durable» `durable` and `kind = "quorum"` do not go together: a quorum queue always outlives its consumers and the broker, write `kind = "classic"`
struct NoQuorum;

#[group(exclusive, kind = "quorum", dlq_ttl = "1d", on_unknown = "wait", on_exhausted = "dead_letter")]
//~^ error 20 «kind» `kind` and `exclusive` do not go together: an exclusive queue is a classic one
//~^^ error 37 «dlq_ttl» `dlq_ttl` and `exclusive` do not go together: an exclusive queue goes with its process, retries in memory, and has no dead-letter queue
//~^^^ error 53 «on_unknown» `on_unknown` and `exclusive` do not go together: it skips what its handlers do not take
//~^^^^ error 74 «on_exhausted» `on_exhausted` and `exclusive` do not go together: an exclusive queue goes with its process, retries in memory, and has no dead-letter queue
struct NotExclusive;

#[group(compat = "eventsource", on_unknown = "skip", kind = "quorum", message_ttl = "1h", dlx = "dlx.events")]
//~^ error 54 «kind» `kind` and `compat` do not go together: eventsource-py declares classic queues
//~^^ error 71 «message_ttl» `message_ttl` and `compat` do not go together: the queue is declared exactly as eventsource-py declares it
//~^^^ error 91 «dlx» `dlx` and `compat` do not go together: the queue is declared exactly as eventsource-py declares it
struct NotCompat;

#[group(on_exhausted = "drop", dlq = "dlq.events", dlq_max_length = 10)]
//~^ error 32 «dlq» `dlq` and `on_exhausted = "drop"` do not go together: there is no dead-letter queue then
//~^^ error 52 «dlq_max_length» `dlq_max_length` and `on_exhausted = "drop"` do not go together: there is no dead-letter queue then
struct NoDeadLetters;

#[group(kind = "stream", max_priority = 9, message_ttl = "1h", expires = "1d", durable = false, dlq_kind = "stream")]
//~^ error 26 «max_priority» `max_priority` and `kind = "stream"` do not go together: a stream has one order, that in which events came
//~^^ error 44 «message_ttl» `message_ttl` and `kind = "stream"` do not go together: a stream lets events go by `max_age` and `max_length_bytes` alone
//~^^^ error 64 «expires» `expires` and `kind = "stream"` do not go together: a stream stays when nobody reads it, and outlives the broker
//~^^^^ error 80 «durable» `durable` and `kind = "stream"` do not go together: a stream stays when nobody reads it, and outlives the broker
//~^^^^^ error 108 «"stream"» `dlq_kind` cannot be `stream`, expected one of `quorum`, `classic`
struct NoStream;

#[group(kind = "classic", offset = "last", max_age = "1d")]
//~^ error 27 «offset» `offset` and `kind = "classic"` do not go together: only a stream is read from a place in it, write `kind = "stream"`
//~^^ error 44 «max_age» `max_age` and `kind = "classic"` do not go together: only a stream is read from a place in it, write `kind = "stream"`
struct OnlyStreams;

#[group(kind = "stream", offset = "latest")]
//~^ error 35 «"latest"» `offset` is "first", "last", "next", an offset ("1042") or a time ("2026-01-31T12:00:00Z"), not "latest"
struct Nowhere;

#[group(exclusive, compat = "eventsource")]
//~^ error 20 «compat» `compat` and `exclusive` do not go together: an exclusive queue goes with its process, retries in memory, and has no dead-letter queue
struct NeitherNor;

fn main() {}
