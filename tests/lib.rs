//! What the tests of es-bus share: throw-away RabbitMQ nodes, a view of what is on them, and a proxy
//! for what a network does.
//!
//! [`Node::shared`] boots one node for the whole test binary; [`Node::vhost`] gives each test a
//! virtual host of its own on it. A test that kills or freezes its broker starts its own with
//! [`Node::start`], or a [`Cluster`]. [`Proxy::before`] stands between a client and a node. [`python`]
//! finds a Python with eventsource-py; [`note`] is what programs write that are killed. Nothing is skipped:
//! without RabbitMQ or Python the tests fail, with the line to type.

mod cluster;
mod frames;
mod management;
mod mender;
mod node;
mod note;
mod proxy;
mod python;

pub use cluster::Cluster;
pub use frames::{Frame, Method};
pub use management::{BindingInfo, ConsumerInfo, ExchangeInfo, QueueInfo, Vhost, eventually};
pub use node::Node;
pub use note::note;
pub use proxy::{Door, Mode, Proxy, Trap, Way};
pub use python::{python, script};
