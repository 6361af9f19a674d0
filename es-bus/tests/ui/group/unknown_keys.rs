#![allow(dead_code)]
use es_bus::group;

#[group(prefech = 10, bind = "Order.*", unknown_wait = "30s", colour = 1)]
//~^ error 9 «prefech» unknown key `prefech`, did you mean `prefetch`? (known keys: `name`, `formerly`, `exchange`, `kind`, `offset`, `max_age`, `prefetch`, `concurrency`, `ordering`, `on_unknown`, `unknown_delay`, `unknown_retries`, `crash_limit`, `weight`, `retired`, `retries`, `backoff`, `timeout`, `slow_handler`, `retry_ladder`, `max_length`, `max_length_bytes`, `overflow`, `message_ttl`, `expires`, `max_priority`, `queue`, `compat`, `exclusive`, `single_active_consumer`, `durable`, `auto_delete`, `arguments`, `on_exhausted`, `dlx`, `dlx_kind`, `dlq`, `dlq_key`, `dlq_bind`, `dlq_kind`, `dlq_ttl`, `dlq_max_length`, `layer`, `bus`, `crate`)
//~^^ error 23 «bind» `bind` belongs on a `#[handler]`: the queue is bound to what its handlers take
//~^^^ error 41 «unknown_wait» unknown key `unknown_wait`, did you mean `unknown_delay`?
//~^^^^ error 63 «colour» unknown key `colour`, expected one of `name`, `formerly`, `exchange`, `kind`, `offset`, `max_age`, `prefetch`, `concurrency`, `ordering`, `on_unknown`, `unknown_delay`, `unknown_retries`, `crash_limit`, `weight`, `retired`, `retries`, `backoff`, `timeout`, `slow_handler`, `retry_ladder`, `max_length`, `max_length_bytes`, `overflow`, `message_ttl`, `expires`, `max_priority`, `queue`, `compat`, `exclusive`, `single_active_consumer`, `durable`, `auto_delete`, `arguments`, `on_exhausted`, `dlx`, `dlx_kind`, `dlq`, `dlq_key`, `dlq_bind`, `dlq_kind`, `dlq_ttl`, `dlq_max_length`, `layer`, `bus`, `crate`
struct Projections;

fn main() {}
