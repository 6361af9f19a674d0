//! Three RabbitMQ nodes in one cluster, of which some are to be lost.
//!
//! Each is a [`Node`] with data, ports and a janitor of its own; they share the epmd of the first, and
//! its cookie.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Node, Vhost};

/// A cluster of three: each quorum queue has a member on every node.
///
/// Nodes are numbered from 0. The first serves the management API behind [`Vhost`]: tests that lose a
/// node while they look into queues lose another one.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    vhosts: AtomicU32,
}

impl Cluster {
    /// Boots the nodes side by side, and makes one cluster of them; 15 to 20 s on two cores.
    ///
    /// # Panics
    ///
    /// As for [`Node::start`].
    #[track_caller]
    pub fn start() -> Self {
        let nodes = Node::try_start_together(SIZE, "").unwrap_or_else(|error| panic!("{error}"));
        let (first, others) = nodes.split_first().expect("there are three");
        let first = first.name();
        for node in others {
            node.rabbitmqctl(&["stop_app"]);
            node.rabbitmqctl(&["join_cluster", &first]);
            node.rabbitmqctl(&["start_app"]);
        }
        Self { nodes, vhosts: AtomicU32::new(0) }
    }

    /// A node, to look at or to hurt.
    pub fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }

    /// Makes a virtual host that nobody else has, named after `name`; its URL has the hosts of all nodes.
    #[track_caller]
    pub fn vhost(&self, name: &str) -> Vhost {
        for node in &self.nodes {
            node.mend();
        }
        let number = self.vhosts.fetch_add(1, Ordering::Relaxed);
        let ports = self.nodes.iter().map(Node::port).collect();
        Vhost::create(format!("{name}-{number}"), ports, self.nodes[0].api())
    }

    /// The number of the node that a queue is on, or its leader; `None` when there is no such queue.
    #[track_caller]
    pub fn home(&self, vhost: &Vhost, queue: &str) -> Option<usize> {
        let node = vhost.queue(queue)?.node;
        self.nodes.iter().position(|it| it.name() == node)
    }

    /// Boots nodes again that were killed, side by side, on the same data and ports.
    ///
    /// # Panics
    ///
    /// As for [`Node::start`].
    #[track_caller]
    pub fn bring_back(&mut self, numbers: &[usize]) {
        let nodes = self.nodes.iter_mut().enumerate().filter(|(number, _)| numbers.contains(number));
        Node::boot_together(nodes.map(|(_, node)| node)).unwrap_or_else(|error| panic!("{error}"));
        for number in numbers {
            self.nodes[*number].mend();
        }
    }

    /// The ends of the logs, for who reports a failure.
    pub fn log_tails(&self) -> String {
        let tails = self.nodes.iter().map(|node| format!("{}: {}", node.name(), node.log_tail()));
        tails.collect::<Vec<_>>().join("\n")
    }
}

/// The fewest nodes of which one can be lost.
const SIZE: usize = 3;
