#![allow(dead_code)]
use es_bus::exchange;

#[exchange(name = "amq.events", kind = "topik", durable)]
//~^ error 19 «"amq.events"» exchange name `amq.events` starts with `amq.`, which RabbitMQ keeps for itself
//~^^ error 40 «"topik"» `kind` cannot be `topik`, did you mean `topic`? (known: `topic`, `direct`, `fanout`, `headers`, `consistent-hash`)
//~^^^ error 49 «durable» an exchange survives a restart of the broker unless you write `transient`: drop `durable`
struct First;

#[exchange(name = "erp events", kind = topic, transient = true)]
//~^ error 19 «"erp events"» exchange name `erp events` contains ' '; use letters, digits, `-`, `_` and dots
//~^^ error 40 «topic» `kind` of `#[exchange]` takes a text: `kind = "topic"`
//~^^^ error 59 «true» `transient` of `#[exchange]` takes no value: write `transient` alone
struct Second;

#[exchange(kind = "x-delayed-message", typ = "topic", alternate = "unrouted")]
//~^ error 19 «"x-delayed-message"» `kind` cannot be `x-delayed-message`, expected one of `topic`, `direct`, `fanout`, `headers`, `consistent-hash`
//~^^ error 40 «typ» unknown key `typ`, expected one of `name`, `kind`, `hash_on`, `hash_header`, `transient`, `auto_delete`, `internal`, `alternate_exchange`, `from`, `arguments`, `bus`, `crate`
//~^^^ error 55 «alternate» unknown key `alternate`, did you mean `alternate_exchange`?
struct Third;

#[exchange(type = "topic", bind = "#", headers(format = "pdf"), queue = "orders")]
//~^ error 12 «type» unknown key `type`, did you mean `kind`?
//~^^ error 28 «bind» `bind` belongs on a `#[handler]`: a binding is what somebody asks the exchange for; what this exchange gets from another one is `from(Shop, "Order.#")`
//~^^^ error 40 «headers» `headers` belongs on a `#[handler]`: a binding is what somebody asks the exchange for; what this exchange gets from another one is `from(Shop, "Order.#")`
//~^^^^ error 65 «queue» `queue` has no place here: a `#[group]` names its exchange, `#[group(exchange = ThisType)]`
struct Fourth;

#[exchange(arguments("alternate-exchange" = "unrouted", "x-limit" = 1.5))]
//~^ error 45 «"unrouted"» the alternate exchange has a key of its own: `alternate_exchange = "unrouted"`
//~^^ error 69 «1.5» the value is a text, a whole number, `true` or `false`
struct Fifth;

#[exchange(arguments = "x-limit", alternate_exchange = 7)]
//~^ error 24 «"x-limit"» `arguments` of `#[exchange]` takes a list: `arguments("x-delayed-type" = "topic")`
//~^^ error 56 «7» `alternate_exchange` of `#[exchange]` takes a text or a type marked `#[exchange]`: `alternate_exchange = "orders"`, `alternate_exchange = Orders`
struct Sixth;

fn main() {}
