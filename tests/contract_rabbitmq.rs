//! The contract of a transport, on RabbitMQ: each case in a virtual host of its own.

use es_bus::{
    model::QueueKind,
    transport::{
        LinkState, Transport,
        amqp::{Amqp, AmqpOptions, Host},
    },
};
use es_bus_tests::Node;

use self::contract::Fixture;

#[macro_use]
mod contract;

async fn setup(kind: QueueKind) -> Fixture {
    let vhost = Node::shared().vhost("contract");
    let port = vhost.url().rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
    let amqp = Amqp::connect(AmqpOptions {
        hosts: vec![Host { host: "127.0.0.1".to_owned(), port: port.expect("a port") }],
        vhost: vhost.name().to_owned(),
        ..AmqpOptions::default()
    });
    let mut link = amqp.link();
    link.wait_for(|link| matches!(link.state, LinkState::Up)).await.expect("kept by the transport");
    Fixture::new(amqp, kind).keeping(vhost)
}

contract!(
    #[tokio::test]
    setup
);
