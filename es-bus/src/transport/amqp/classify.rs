//! What lapin and RabbitMQ say, as the errors of the contract.

use std::io;

use lapin::ErrorKind;

use super::{AmqpOptions, Mechanism, handshake};
use crate::{
    model::Exchange,
    transport::{ConsumeError, DeclareError, PublishError, TransportError},
};

/// A connection that could not be made.
pub(super) enum Failure {
    /// For a reason that trying again cannot cure.
    Fatal(TransportError),
    /// For a reason that may pass.
    Passing(String),
}

/// Why a connection could not be made, and whether it is worth another try.
pub(super) fn connect(error: &lapin::Error, options: &AmqpOptions, address: &str) -> Failure {
    let reason = text(error);
    let address = address.to_owned();
    match error.kind() {
        ErrorKind::ProtocolError(_) => match reply_code(error) {
            Some(403) => Failure::Fatal(TransportError::Login { address, reason, remedy: login(options) }),
            // The same code says that the virtual host is full, which passes.
            Some(530) if reason.contains("limit (") => Failure::Passing(reason),
            Some(530) => {
                Failure::Fatal(TransportError::VirtualHost { address, vhost: options.vhost.clone(), reason })
            }
            Some(501 | 502 | 503 | 505 | 540) => protocol(options, address, reason),
            _ => Failure::Passing(reason),
        },
        ErrorKind::AuthProviderError(_) => {
            Failure::Fatal(TransportError::Login { address, reason, remedy: login(options) })
        }
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => {
            protocol(options, address, reason)
        }
        ErrorKind::IOError(error) => match (handshake::explain(error, options), &options.tls) {
            (Some((reason, remedy)), _) => Failure::Fatal(TransportError::Tls { address, reason, remedy }),
            // What a port that speaks another protocol looks like, after a silence.
            (None, tls) if error.kind() == io::ErrorKind::ConnectionAborted => {
                let (here, there) = match tls {
                    Some(_) => ("TLS", "amqps"),
                    None => ("AMQP without TLS", "amqp"),
                };
                Failure::Passing(format!(
                    "{reason} during the handshake; if it goes on, see that the port speaks {here} ({there}://)"
                ))
            }
            (None, _) => Failure::Passing(reason),
        },
        _ => Failure::Passing(reason),
    }
}

/// Why a connection that was not refused did not come about in time.
pub(super) fn no_answer(options: &AmqpOptions) -> Failure {
    Failure::Passing(format!("no answer within {:?}", options.connect_timeout))
}

fn protocol(options: &AmqpOptions, address: String, reason: String) -> Failure {
    let remedy = match options.tls {
        None => "see that the port speaks AMQP (5672 is usual); if it speaks TLS, write amqps:// in the URL",
        Some(_) => "see that the port is the one for AMQP over TLS (5671 is usual)",
    };
    Failure::Fatal(TransportError::Protocol { address, reason, remedy: remedy.to_owned() })
}

fn login(options: &AmqpOptions) -> String {
    let remedy = match options.mechanism {
        Mechanism::Plain if options.user == "guest" => {
            "check user and password in the URL; RabbitMQ lets `guest` in from its own machine only, make a user \
             (`rabbitmqctl add_user`)"
        }
        Mechanism::Plain => "check user and password in the URL",
        Mechanism::External => {
            "see that the broker has the plugin rabbitmq_auth_mechanism_ssl, EXTERNAL among its `auth_mechanisms`, \
             and a user named after the certificate (`ssl_cert_login_from` says which part of it)"
        }
    };
    remedy.to_owned()
}

/// Why a declaration failed.
pub(super) fn declare(error: &lapin::Error, what: &'static str, name: &str) -> DeclareError {
    let reason = text(error);
    let name = name.to_owned();
    match reply_code(error) {
        Some(406) => match Inequivalence::parse(&reason) {
            Some(found) => DeclareError::Mismatch {
                what,
                name,
                field: Some(found.field),
                wanted: found.wanted,
                found: found.found,
                reason,
            },
            None => DeclareError::Refused { what, name, reason },
        },
        Some(403) => DeclareError::Forbidden { what, name, reason },
        Some(404) if is_down(&reason) => DeclareError::Down { what, name, reason },
        _ if error.is_amqp_soft_error() => DeclareError::Refused { what, name, reason },
        _ => DeclareError::Interrupted { what, name, reason },
    }
}

/// What became of declaring an exchange that takes a plugin, where that is not enabled.
///
/// RabbitMQ ends the connection over it (503), so that whatever is declared beside it fails for the same reason.
pub(super) fn without_plugin(error: DeclareError, exchange: &Exchange) -> DeclareError {
    match (error, exchange.kind.plugin()) {
        (
            DeclareError::Interrupted { what, name, reason } | DeclareError::Refused { what, name, reason },
            Some(plugin),
        ) if reason.contains("unknown exchange type") => {
            DeclareError::NoPlugin { what, name, plugin, reason }
        }
        (error, _) => error,
    }
}

/// Whether there is no such queue.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    reply_code(error) == Some(404) && !is_down(&text(error))
}

/// Whether the broker says `home node 'N' of durable queue 'Q' in vhost 'V' is down or inaccessible`. It
/// cuts a long text after 255 bytes, so the beginning has to do.
fn is_down(text: &str) -> bool {
    text.strip_prefix("NOT_FOUND - ").unwrap_or(text).starts_with("home node '")
}

/// Why a publish failed.
pub(super) fn publish(error: &lapin::Error, exchange: &str) -> PublishError {
    let reason = text(error);
    let exchange = exchange.to_owned();
    match reply_code(error) {
        Some(404) => PublishError::NoExchange { exchange, reason },
        Some(406) => match message_size(&reason) {
            Some((size, limit)) => PublishError::TooLarge { what: "the body".to_owned(), size, limit },
            None => PublishError::Rejected { exchange, reason },
        },
        _ if error.is_amqp_soft_error() => PublishError::Rejected { exchange, reason },
        _ => PublishError::Interrupted { reason },
    }
}

/// Why a consumer could not start.
pub(super) fn consume(error: &lapin::Error, queue: &str) -> ConsumeError {
    let reason = text(error);
    let queue = queue.to_owned();
    match reply_code(error) {
        Some(404) => ConsumeError::NoQueue { queue, reason },
        Some(403 | 405) => ConsumeError::Refused { queue, reason },
        _ if error.is_amqp_soft_error() => ConsumeError::ChannelClosed { queue, reason },
        _ => ConsumeError::Interrupted { reason },
    }
}

/// Why a consumer ended.
pub(super) fn consumer_ended(error: &lapin::Error, queue: &str) -> ConsumeError {
    let reason = text(error);
    if error.is_amqp_soft_error() {
        ConsumeError::ChannelClosed { queue: queue.to_owned(), reason }
    } else {
        ConsumeError::Interrupted { reason }
    }
}

/// The reply code of an error that the broker sent.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// What an error says: the broker's own words when it has any.
pub(super) fn text(error: &lapin::Error) -> String {
    match error.kind() {
        // Some end with a full stop, and what follows here is not a new sentence.
        ErrorKind::ProtocolError(error) => error.get_message().as_str().trim_end_matches('.').to_owned(),
        ErrorKind::IOError(error) => error.to_string(),
        ErrorKind::MissingHeartbeatError => "the broker has fallen silent".to_owned(),
        ErrorKind::ParsingError(_) => "what it sent is not AMQP 0-9-1".to_owned(),
        _ => error.to_string(),
    }
}

/// What RabbitMQ found different.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inequivalence {
    /// The setting, by the broker's name.
    pub(super) field: String,
    /// What was asked for; `None` for nothing.
    pub(super) wanted: Option<String>,
    /// What is there; `None` for nothing.
    pub(super) found: Option<String>,
}

impl Inequivalence {
    /// Reads `inequivalent arg 'F' for queue 'Q' in vhost 'V': received W but current is C`.
    ///
    /// The names may hold anything, quotes too, so the fixed parts are looked for from the end. A
    /// long text is cut by the broker, after 255 bytes: what is missing is said to be unknown.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.split_once("inequivalent arg '")?.1;
        let (field, rest) = rest.split_once("' for ")?;
        let (wanted, found) = match rest.rsplit_once(": received ") {
            Some((_, values)) => values.split_once(" but current is ").unwrap_or((values, CUT)),
            None => (CUT, CUT),
        };
        Some(Self { field: field.to_owned(), wanted: plain(wanted), found: plain(found) })
    }
}

const CUT: &str = "unknown (the broker's answer was cut)";

/// A value as people write it: without the quotes, and without the type that RabbitMQ adds. `None`
/// where there is none.
fn plain(value: &str) -> Option<String> {
    // A value of that text would stand in quotes.
    if value == "none" {
        return None;
    }
    let value = value.strip_prefix("the value ").unwrap_or(value);
    let value = match value.rsplit_once(" of type ") {
        Some((value, _)) => value,
        None => value,
    };
    Some(value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value).to_owned())
}

/// Reads `message size N is larger than configured max size M`.
fn message_size(text: &str) -> Option<(usize, usize)> {
    let rest = text.split_once("message size ")?.1;
    let (size, rest) = rest.split_once(' ')?;
    let limit = rest.split_once("max size ")?.1;
    let digits = limit.find(|c: char| !c.is_ascii_digit()).unwrap_or(limit.len());
    Some((size.parse().ok()?, limit[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;
    use crate::transport::amqp::{Tls, TlsFiles};

    fn options(tls: bool) -> AmqpOptions {
        let files = TlsFiles { accept_any_certificate: true, ..TlsFiles::default() };
        AmqpOptions { tls: tls.then(|| Tls::from_files(files).unwrap()), ..AmqpOptions::default() }
    }

    fn broker(kind: impl Into<AMQPErrorKind>, text: &str) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), text.into())).into()
    }

    #[test]
    fn reads_what_rabbitmq_found_different() {
        const NOTHING: &str = "";
        let some = |value: &str| (value != NOTHING).then(|| value.to_owned());
        for (text, field, wanted, found) in [
            (
                // 3.10.8
                "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '1' of type 'long' but current is the value '2' of type 'long'",
                "x-message-ttl",
                "1",
                "2",
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
                "durable",
                "false",
                "true",
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received none but current is the value 'drop-head' of type 'longstr'",
                "x-overflow",
                NOTHING,
                "drop-head",
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received 'topic' but current is 'direct'",
                "type",
                "topic",
                "direct",
            ),
            (
                // 4.x takes a queue without a type for a classic one.
                "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'",
                "x-queue-type",
                "quorum",
                "classic",
            ),
            (
                "inequivalent arg 'x-max-length' for queue 'odd': received ' in vhost '/': received the value '5' of type 'signedint' but current is none",
                "x-max-length",
                "5",
                NOTHING,
            ),
            ("inequivalent arg 'x-expires' for queue 'a very long na", "x-expires", CUT, CUT),
        ] {
            assert_eq!(
                Inequivalence::parse(text),
                Some(Inequivalence { field: field.to_owned(), wanted: some(wanted), found: some(found) }),
                "{text}"
            );
        }
        assert_eq!(Inequivalence::parse("PRECONDITION_FAILED - invalid arg 'x'"), None);
    }

    #[test]
    fn tells_what_will_not_pass_from_what_may() {
        let io = |kind, text: &str| ErrorKind::IOError(Arc::new(io::Error::new(kind, text))).into();
        for (error, tls, expected) in [
            (broker(AMQPSoftError::ACCESSREFUSED, "Login was refused"), false, "Login"),
            (broker(AMQPHardError::NOTALLOWED, "NOT_ALLOWED - vhost shop not found"), false, "VirtualHost"),
            (
                broker(
                    AMQPHardError::NOTALLOWED,
                    "access to vhost '/' refused: connection limit (3) is reached",
                ),
                false,
                "passing",
            ),
            (broker(AMQPHardError::CONNECTIONFORCED, "node is shutting down"), false, "passing"),
            (broker(AMQPHardError::INTERNALERROR, "vhost is down"), false, "passing"),
            (io(io::ErrorKind::ConnectionRefused, "refused"), true, "passing"),
            (io(io::ErrorKind::ConnectionAborted, "connection aborted"), false, "passing"),
            (io(io::ErrorKind::InvalidData, "invalid peer certificate"), true, "Tls"),
            (io(io::ErrorKind::ConnectionReset, "reset"), true, "passing"),
            (io(io::ErrorKind::UnexpectedEof, "tls handshake eof"), true, "passing"),
            (ErrorKind::MissingHeartbeatError.into(), false, "passing"),
        ] {
            let found = match connect(&error, &options(tls), "amqp://guest@localhost:5672/") {
                Failure::Passing(_) => "passing".to_owned(),
                Failure::Fatal(error) => format!("{error:?}"),
            };
            assert!(found.starts_with(expected), "{error}: {found}");
        }
    }

    #[test]
    fn a_handshake_that_ends_in_silence_asks_which_protocol_the_port_speaks() {
        let error = ErrorKind::IOError(io::Error::from(io::ErrorKind::ConnectionAborted).into()).into();

        for (tls, expected) in [(false, "AMQP without TLS (amqp://)"), (true, "TLS (amqps://)")] {
            let Failure::Passing(reason) = connect(&error, &options(tls), "amqp://guest@localhost:15672/")
            else {
                panic!("it may pass");
            };

            assert!(reason.ends_with(expected), "{reason}");
        }
    }

    #[test]
    fn gives_a_failed_publish_its_reason() {
        for (error, expected) in [
            (broker(AMQPSoftError::NOTFOUND, "no exchange 'x'"), "NoExchange"),
            (broker(AMQPSoftError::ACCESSREFUSED, "write access refused"), "Rejected"),
            (
                broker(
                    AMQPSoftError::PRECONDITIONFAILED,
                    "user_id property set to 'a' but authenticated user was 'b'",
                ),
                "Rejected",
            ),
            (
                broker(
                    AMQPSoftError::PRECONDITIONFAILED,
                    "PRECONDITION_FAILED - message size 17 is larger than configured max size 16",
                ),
                "TooLarge { what: \"the body\", size: 17, limit: 16 }",
            ),
            (broker(AMQPHardError::CONNECTIONFORCED, "shutdown"), "Interrupted"),
            (ErrorKind::MissingHeartbeatError.into(), "Interrupted"),
        ] {
            let found = format!("{:?}", publish(&error, "orders"));
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn gives_a_failed_declaration_its_reason() {
        for (error, expected) in [
            (broker(AMQPSoftError::PRECONDITIONFAILED, "invalid property 'exclusive'"), "Refused"),
            (broker(AMQPSoftError::RESOURCELOCKED, "exclusive"), "Refused"),
            (broker(AMQPSoftError::NOTFOUND, "NOT_FOUND - no queue 'home node 'a' in vhost '/'"), "Refused"),
            (
                broker(
                    AMQPSoftError::NOTFOUND,
                    "NOT_FOUND - home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible",
                ),
                "Down",
            ),
            (broker(AMQPSoftError::ACCESSREFUSED, "no configure"), "Forbidden"),
            (broker(AMQPHardError::CONNECTIONFORCED, "shutdown"), "Interrupted"),
        ] {
            let found = format!("{:?}", declare(&error, "queue", "orders"));
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
