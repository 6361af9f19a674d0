#![allow(dead_code)]
use es_bus::group;

#[group(prefetch = 0, concurrency = "4", kind = "quorom", ordering = "strickt", on_unknown = "drop")]
//~^ error 20 «0» `prefetch` is a number from 1 to 65535 (0 would be unlimited)
//~^^ error 37 «"4"» `concurrency` of `#[group]` takes a whole number: `concurrency = 1`
//~^^^ error 49 «"quorom"» `kind` cannot be `quorom`, did you mean `quorum`? (known: `quorum`, `classic`, `stream`)
//~^^^^ error 70 «"strickt"» `ordering` cannot be `strickt`, did you mean `strict`? (known: `aggregate`, `strict`, `none`)
//~^^^^^ error 94 «"drop"» `on_unknown` cannot be `drop`, expected one of `skip`, `wait`, `dead_letter`
struct First;

#[group(prefetch = 4, concurrency = 8, kind = "stream", overflow = "drop", max_length = 0, max_length_bytes = "64")]
//~^ error 23 «concurrency» `concurrency` of 8 can never be reached with a `prefetch` of 4
//~^^ error 57 «overflow» `overflow` and `kind = "stream"` do not go together: a stream lets events go by `max_age` and `max_length_bytes` alone
//~^^^ error 68 «"drop"» `overflow` cannot be `drop`, expected one of `reject-publish`, `drop-head`
//~^^^^ error 89 «0» `max_length` is a number from 1 to 9223372036854775807
//~^^^^^ error 111 «"64"» size "64" has no unit, write "64 B" (units: B, kB, KiB, MB, MiB, GB, GiB)
struct Second;

#[group(message_ttl = "40d", dlq_ttl = 3, dlq_max_length = -1, max_length_bytes = 64, retry_ladder = ["5m", "30s"])]
//~^ error 23 «"40d"» `message_ttl` is a duration from 1ms to 30d
//~^^ error 40 «3» `dlq_ttl` of `#[group]` takes a duration: `dlq_ttl = "30s"`
//~^^^ error 60 «-1» `dlq_max_length` of `#[group]` takes a whole number: `dlq_max_length = 1`
//~^^^^ error 83 «64» `max_length_bytes` of `#[group]` takes a size: `max_length_bytes = "64 MiB"`
//~^^^^^ error 109 «"30s"» the rungs of a ladder go from the shortest to the longest, each once
struct Third;

#[group(retired = "Order*", retry_ladder = "5", unknown_delay = "1x", name = "a b", exchange = "amq.x", max_length_bytes = "0 B")]
//~^ error 19 «"Order*"» `*` has to be a whole word: in `Order*` it would be matched literally; write `*` between dots, or list the words you mean
//~^^ error 44 «"5"» duration "5" has no unit, write "5s" (units: ms, s, m, h, d)
//~^^^ error 65 «"1x"» duration "1x" has the unknown unit "x", use one of ms, s, m, h, d
//~^^^^ error 78 «"a b"» group name `a b` contains ' '; use letters, digits, `-`, `_` and dots
//~^^^^^ error 96 «"amq.x"» exchange name `amq.x` starts with `amq.`, which RabbitMQ keeps for itself
//~^^^^^^ error 124 «"0 B"» `max_length_bytes` cannot be nothing
struct Fourth;

#[group(crash_limit = "none")]
struct Unprotected;

#[group(crash_limit = 1)]
//~^ error 23 «1» `crash_limit` is a number from 2 to 100 (or `"none"`)
struct Hasty;

#[group(crash_limit = "never")]
//~^ error 23 «"never"» `crash_limit` of `#[group]` takes a whole number or `"none"`: `crash_limit = 2`
struct Wordy;

fn main() {}
