#![allow(dead_code)]
use es_bus::group;

#[group(max_priority = 256, exclusive = "yes", durable = 1, compat = "celery", on_exhausted = "forget", dlx_kind = "headers")]
//~^ error 24 «256» `max_priority` is a number from 1 to 255 (RabbitMQ advises 10 at most)
//~^^ error 41 «"yes"» `exclusive` of `#[group]` takes true or false: `exclusive = true`, or `exclusive` alone
//~^^^ error 58 «1» `durable` of `#[group]` takes true or false: `durable = true`, or `durable` alone
//~^^^^ error 70 «"celery"» `compat` cannot be `celery`, expected one of `eventsource`
//~^^^^^ error 95 «"forget"» `on_exhausted` cannot be `forget`, expected one of `dead_letter`, `drop`
//~^^^^^^ error 105 «dlx_kind» `dlx_kind` and `compat` do not go together: the queue is declared exactly as eventsource-py declares it
//~^^^^^^^ error 116 «"headers"» `dlx_kind` cannot be `headers`, expected one of `direct`, `topic`, `fanout`
struct Words;

#[group(queue = "{queue}.a", dlx = "", dlq = " a", dlq_key = "{qeue}.dead", dlq_bind = 3, expires = "10")]
//~^ error 17 «"{queue}.a"» `queue` has an unknown placeholder, known are `{exchange}`, `{group}`
//~^^ error 36 «""» write `dlx = "amq.default"` for the default exchange
//~^^^ error 46 «" a"» `dlq` is a name: not empty, without blanks around it
//~^^^^ error 62 «"{qeue}.dead"» `dlq_key` has an unknown placeholder, known are `{exchange}`, `{group}`, `{queue}`, `{dlq_exchange_suffix}`
//~^^^^^ error 88 «3» `dlq_bind` of `#[group]` takes a text: `dlq_bind = "#"`
//~^^^^^^ error 101 «"10"» duration "10" has no unit, write "10s" (units: ms, s, m, h, d)
struct Names;

#[group(arguments("x-queue-mode" = "lazy", "x-max-priority" = 10, "x y" = 1, "x-queue-mode" = 1, "x-half" = 0.5, "x-quoted" = "a\"b"))]
//~^ error 44 «"x-max-priority"» `x-max-priority` is not set by hand: `max_priority` sets it
//~^^ error 67 «"x y"» the name of an argument is ASCII without blanks, 1 to 128 bytes
//~^^^ error 78 «"x-queue-mode"» argument `x-queue-mode` is given twice
//~^^^^ error 109 «0.5» the value of an argument is a text, a whole number, true or false
//~^^^^^ error 127 «"a\"b"» the value of an argument cannot hold a quote
struct Arguments;

#[group(arguments = "x-queue-mode", dlx = "amq.direct", transient, ephemeral, enable_dlq = false)]
//~^ error 21 «"x-queue-mode"» `arguments` of `#[group]` takes a list: `arguments("x-queue-mode" = "lazy")`
//~^^ error 43 «"amq.direct"» `dlx` starts with `amq.`, which RabbitMQ keeps for itself
//~^^^ error 57 «transient» write `durable = false`: the queue does not outlive the broker
//~^^^^ error 68 «ephemeral» write `exclusive`: each process has a queue of its own
//~^^^^^ error 79 «enable_dlq» write `on_exhausted = "drop"` for no dead-letter queue
struct Elsewhere;

#[group(arguments(lazy = true))]
//~^ error 19 «lazy» expected `"x-queue-mode" = "lazy"`
struct Unquoted;

fn main() {}
