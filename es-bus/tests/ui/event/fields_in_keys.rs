#![allow(dead_code, unused_imports)]
use es_bus::{event, exchange};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", key = "order.created.{regoin}")]
//~^ error 36 «"order.created.{regoin}"» `NoSuchField` has no field `regoin`; did you mean `region`?
#[derive(Serialize, Deserialize)]
struct NoSuchField {
    region: String,
}

#[event(aggregate = "Order", key = "order.in-{region}")]
//~^ error 36 «"order.in-{region}"» in `order.in-{region}` a field has to be a whole word, and nothing but its name: `order.created.{region}`
#[derive(Serialize, Deserialize)]
struct PartOfAWord {
    region: String,
}

#[event(aggregate = "Order", key = "order.{region:?}")]
//~^ error 36 «"order.{region:?}"» in `order.{region:?}` a field has to be a whole word, and nothing but its name: `order.created.{region}`
#[derive(Serialize, Deserialize)]
struct Formatted {
    region: String,
}

#[event(key = "{region}.created")]
//~^ error 15 «"{region}.created"» missing `aggregate`: the first word of the key is the field `region`, which names none
#[derive(Serialize, Deserialize)]
struct NoAggregate {
    region: String,
}

#[event(aggregate = "Order", key = "order..{region}")]
//~^ error 36 «"order..{region}"» routing key `order..{region}` has an empty word (two dots in a row)
#[derive(Serialize, Deserialize)]
struct EmptyWord {
    region: String,
}

#[event(aggregate = "Order", key = "order.created.{region}")]
//~^ error[E0277] 36 «"order.created.{region}"» `std::option::Option<String>` doesn't implement `std::fmt::Display`
#[derive(Serialize, Deserialize)]
struct DoesNotPrint {
    region: Option<String>,
}

#[exchange(kind = "direct")]
struct Tasks;

#[event(aggregate = "Task", key = "task.{kind}", exchange = Tasks)]
//~^ error[E0080] 35 «"task.{kind}"» evaluation panicked: the key of this event has fields, and `tasks` is a direct exchange, which compares whole keys: nobody could be bound to all of its messages; make it a topic exchange, or leave the fields out
#[derive(Serialize, Deserialize)]
struct OnDirect {
    kind: String,
}

#[event(aggregate = "Task", exchange = Tasks)]
#[derive(Serialize, Deserialize)]
enum OfASet {
    #[event(key = "task.{kind}.done")]
//~^ error[E0080] 19 «"task.{kind}.done"» evaluation panicked: the key of this event has fields, and `tasks` is a direct exchange, which compares whole keys: nobody could be bound to all of its messages; make it a topic exchange, or leave the fields out
    Done { kind: String },
}

fn main() {}
