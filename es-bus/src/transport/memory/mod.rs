//! The in-process broker: AMQP semantics on tokio's clock.
