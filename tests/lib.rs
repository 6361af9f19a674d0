//! What the tests of es-bus share: throw-away RabbitMQ nodes, and a view of what is on them.
//!
//! [`Node::shared`] boots one node for the whole test binary; [`Node::vhost`] gives each test a
//! virtual host of its own on it. A test that kills or freezes its broker starts its own with
//! [`Node::start`]. [`python`] finds a Python with eventsource-py. Nothing is skipped: without RabbitMQ
//! or Python the tests fail, with the line to type.

mod management;
mod node;
mod python;

pub use management::{BindingInfo, ExchangeInfo, QueueInfo, Vhost, eventually};
pub use node::Node;
pub use python::{python, script};
