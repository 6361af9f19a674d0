//! es-bus as its users meet it, on a real RabbitMQ: annotated programs, from the first declaration to
//! the last acknowledgement.
//!
//! One binary and so one node, on which every test has a virtual host of its own. Tests that hurt
//! their broker start one for themselves.

mod asyncapi;
mod behaviours;
mod cli;
mod dead_letters;
mod drift;
mod evolution;
mod examples;
mod faults;
mod fleet;
mod flow;
mod groups;
mod memory;
mod middleware;
mod migrate;
mod observing;
mod outage;
mod peers;
mod permissions;
mod plan;
mod policies;
mod publishing;
mod python;
mod reconnect;
mod routing;
mod settling;
mod shares;
mod shutdown;
mod soak;
mod start;
mod streams;
mod strict;
mod subscribing;
mod support;
mod survivor;
mod suspects;
mod topology;
