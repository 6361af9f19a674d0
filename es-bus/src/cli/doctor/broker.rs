//! The broker: whether it is there, lets this program in, and takes what it publishes.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::Finding;
use crate::{
    error::Error,
    message::{Headers, Message, Properties},
    name::ExchangeName,
    transport::{Publication, PublishError, Transport, TransportError},
};

const CONNECTION: &str = "connection";
const LOGIN: &str = "login";
const VIRTUAL_HOST: &str = "vhost";
const PUBLISHES: &str = "publishes";

/// How long the broker has to answer a publish.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no connection: what was passed on the way is told as well.
pub(super) fn refused(error: &Error) -> Vec<Finding> {
    let Error::Transport(error) = error else {
        return vec![Finding::fail(CONNECTION, format!("{error:?}"), "")];
    };
    match &**error {
        TransportError::Login { address, reason, remedy } => vec![
            Finding::ok(CONNECTION, format!("{address} answers")),
            Finding::fail(LOGIN, format!("refused: {reason}"), remedy.clone()),
        ],
        TransportError::VirtualHost { address, vhost, reason } => vec![
            Finding::ok(CONNECTION, format!("{address} answers")),
            Finding::ok(LOGIN, "accepted"),
            Finding {
                remedies: vec![
                    format!(
                        "if it is to be there: `rabbitmqctl add_vhost {vhost}`, then `rabbitmqctl set_permissions -p \
                         {vhost} USER '.*' '.*' '.*'`"
                    ),
                    "else correct the end of the URL: amqp://user:password@host:5672/VHOST".to_owned(),
                ],
                ..Finding::fail(VIRTUAL_HOST, format!("there is no {vhost:?} for this user: {reason}"), "")
            },
        ],
        TransportError::Tls { address, reason, remedy } => {
            vec![Finding::fail("tls", format!("with {address}: {reason}"), remedy.clone())]
        }
        TransportError::Protocol { address, reason, remedy } => {
            vec![Finding::fail(CONNECTION, format!("{address} is no AMQP broker: {reason}"), remedy.clone())]
        }
        TransportError::Unreachable { address, reason }
        | TransportError::NotInTime { address, reason, .. } => {
            vec![Finding {
                remedies: vec![
                    "see that the broker runs: `rabbitmq-diagnostics check_running` on its machine".to_owned(),
                    "see that host and port of the URL are right, and that nothing between keeps this machine out: \
                     `nc -vz HOST PORT`"
                        .to_owned(),
                ],
                ..Finding::fail(CONNECTION, format!("none to {address}: {reason}"), "")
            }]
        }
        TransportError::Closed { address } => {
            vec![Finding::fail(CONNECTION, format!("that to {address} was closed"), "try again")]
        }
    }
}

pub(super) fn connected(address: &str) -> Finding {
    Finding::ok(CONNECTION, format!("{address}: answers, accepts the login, has the virtual host"))
}

/// Whether the broker takes publishes: one is sent to a queue that is not there, and has to come back. A broker
/// that is short of memory or disk says nothing before something is published, and then does not answer.
pub(super) async fn probed(transport: &dyn Transport) -> Finding {
    let publication = Publication {
        exchange: ExchangeName::default_exchange(),
        routing_key: Cow::Owned(format!("es-bus.doctor.{}", uuid::Uuid::new_v4().simple())),
        message: Message { properties: Properties::default(), headers: Headers::new(), body: Bytes::new() },
        mandatory: true,
        lane: None,
    };
    let mut link = transport.link();
    let blocks = async { link.wait_for(|link| link.blocked.is_some()).await.ok()?.blocked.clone() };
    let answers = async {
        // A connection is blocked when it publishes, so the first still passes.
        match timeout(ANSWER_WITHIN, transport.publish(&publication)).await {
            Ok(_first) => timeout(ANSWER_WITHIN, transport.publish(&publication)).await.ok(),
            Err(_elapsed) => None,
        }
    };
    tokio::select! {
        answer = answers => answered(answer, None),
        Some(reason) = blocks => answered(None, Some(reason)),
    }
}

/// What an answer means; none came where it is none. Pure.
fn answered(answer: Option<Result<(), PublishError>>, blocked: Option<String>) -> Finding {
    const REMEDY: &str = "see which resource is short: `rabbitmq-diagnostics alarms`; free memory or disk, or raise \
                          `vm_memory_high_watermark`, `disk_free_limit`. What is published waits meanwhile";
    match (answer, blocked) {
        (_, Some(reason)) => Finding::fail(PUBLISHES, format!("the broker takes none: {reason}"), REMEDY),
        (Some(Ok(()) | Err(PublishError::Unroutable { .. })), None) => {
            Finding::ok(PUBLISHES, "the broker takes and answers them")
        }
        (Some(Err(PublishError::Rejected { .. })), None) => {
            Finding::ok(PUBLISHES, "not tried: this user may not write to the default exchange, and need not")
        }
        (Some(Err(error)), None) => Finding::fail(
            PUBLISHES,
            error.to_string(),
            "look into the broker's log, which says why at this very moment, and try again",
        ),
        (None, None) => Finding::fail(
            PUBLISHES,
            format!("the broker did not answer one within {ANSWER_WITHIN:?}"),
            REMEDY,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::output::Style;

    #[test]
    fn each_way_of_not_getting_in_has_its_remedy() {
        let address = || "amqp://orders:***@rabbit:5672/shop".to_owned();
        let errors = [
            TransportError::Login {
                address: address(),
                reason: "ACCESS_REFUSED".to_owned(),
                remedy: "check user and password".to_owned(),
            },
            TransportError::VirtualHost {
                address: address(),
                vhost: "shop".to_owned(),
                reason: "NOT_ALLOWED - vhost shop not found".to_owned(),
            },
            TransportError::NotInTime {
                address: address(),
                waited: "at the first attempt at each host".to_owned(),
                reason: "connection refused".to_owned(),
            },
        ];
        let texts = errors.map(|error| {
            let findings = refused(&Error::Transport(Arc::new(error)));
            findings.iter().map(|finding| finding.text(Style::default())).collect::<String>()
        });

        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_broker_that_takes_no_publishes_is_told_from_one_that_answers() {
        let unroutable = || PublishError::Unroutable { exchange: String::new(), routing_key: String::new() };
        let rejected = PublishError::Rejected { exchange: String::new(), reason: "403".to_owned() };
        let cases = [
            answered(Some(Err(unroutable())), None),
            answered(Some(Err(rejected)), None),
            answered(None, Some("low on memory".to_owned())),
            answered(None, None),
            answered(Some(Err(PublishError::Interrupted { reason: "reset".to_owned() })), None),
        ];
        let texts = cases.map(|finding| finding.text(Style::default()));

        insta::assert_snapshot!(texts.concat());
    }
}
