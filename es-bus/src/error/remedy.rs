//! What to do about a declaration that a broker did not accept.

use super::report::{field, subject};
use crate::transport::DeclareError;

/// Every way out, the gentlest first. All errors are about one exchange or queue.
pub(crate) fn of(errors: &[&DeclareError]) -> Vec<String> {
    let Some(first) = errors.first() else { return Vec::new() };
    let (what, name) = subject(first);
    match first {
        DeclareError::Mismatch { what: "exchange", .. } => exchange(name),
        DeclareError::Mismatch { .. } => queue(name, errors),
        DeclareError::Forbidden { what: "policy", .. } => vec![
            "give the user of `management_url` (where that names none, of the URL) the tag `policymaker`, beside the tags \
             that it has: `rabbitmqctl set_user_tags USER policymaker`; or have a user who has it bring the broker to \
             what is declared (`topology apply`, `Bus::apply`), and start this program with `declare = \"passive\"`, \
             which sets no policies"
                .to_owned(),
            "or let arguments carry the limits of queues: `limits_in = \"arguments\"`".to_owned(),
        ],
        // Its reason says what to do.
        DeclareError::Refused { what: "policy", .. } => Vec::new(),
        DeclareError::Unanswered { .. } => vec![
            "see that the management plugin runs (`rabbitmq-plugins enable rabbitmq_management`) and that \
             `management_url` (ES_BUS_MANAGEMENT_URL) is its address"
                .to_owned(),
        ],
        DeclareError::Forbidden { .. } => {
            let rights = match what {
                "binding" => {
                    format!("the rights to write to the queue and to read from the exchange of {name:?}")
                }
                "queue" => format!(
                    "the right to configure queue {name:?} (and where it dead-letters, to read it and to write to \
                     its dead-letter exchange)"
                ),
                what => format!("the right to configure {what} {name:?}"),
            };
            vec![format!(
                "give the user of the URL {rights}: `rabbitmqctl set_permissions -p VHOST USER CONFIGURE WRITE READ`; or \
                 let somebody who has it declare the topology: a user without it can run everything once it is there"
            )]
        }
        DeclareError::Refused { what: "binding", .. } => {
            vec!["declare the exchange and the queue first, or let this program declare them".to_owned()]
        }
        DeclareError::Refused { .. } => {
            vec![format!(
                "see who holds {what} {name:?} (`rabbitmqctl list_queues name exclusive pid`), or rename it here"
            )]
        }
        DeclareError::NoPlugin { plugin, .. } => vec![format!(
            "enable the plugin on each node of the broker, `rabbitmq-plugins enable {plugin}`, which it takes without a \
             restart"
        )],
        DeclareError::Unmigrated { .. } => vec![
            "`topology migrate` of this version (`Bus::migrate`) moves them while events keep coming, and loses nothing; \
             then start this again"
                .to_owned(),
        ],
        DeclareError::Down { .. } => {
            vec!["start that node again: nobody else has what is in the queue".to_owned()]
        }
        DeclareError::Missing { .. } => vec![
            "have it declared by whoever may (a start of this program with ES_BUS_DECLARE=create and such a \
             user does it all), or see that name and virtual host are the ones that were meant"
                .to_owned(),
        ],
        DeclareError::Interrupted { .. } => {
            vec!["start again; what was declared already stays, and is not declared twice".to_owned()]
        }
    }
}

fn exchange(name: &str) -> Vec<String> {
    vec![
        "an exchange cannot be changed: use another name (`ES_BUS_EXCHANGE`, or `exchange` of the event or group)"
            .to_owned(),
        format!(
            "or delete it while nothing uses it (`rabbitmqadmin delete exchange name={name}`); its bindings \
             go with it, so what is published meanwhile is not delivered"
        ),
    ]
}

fn queue(name: &str, errors: &[&DeclareError]) -> Vec<String> {
    let mut ways = Vec::new();
    let kind = errors.iter().find_map(|error| kind_found(error));
    let settings: Option<Vec<String>> = errors
        .iter()
        .filter(|error| kind.is_none() || !comes_with_kind(error))
        .map(|error| kept(error, name))
        .collect();
    if let Some(settings) = settings.filter(|settings| !settings.is_empty()) {
        ways.push(format!("keep what the broker has: `#[group({})]`", settings.join(", ")));
    }
    if is_work_queue(name) && errors.iter().all(|error| is_eventsource(error)) {
        // The type is proposed above where the broker names it.
        if errors.iter().all(|error| field(error).is_none_or(|(field, ..)| field != "x-queue-type")) {
            ways.push(
                "a classic queue differs in this: if an earlier version of this program declared one, \
                 `#[group(kind = \"classic\")]` keeps it"
                    .to_owned(),
            );
        }
        ways.push(
            "eventsource-py declares its queues this way; if its workers share this queue, say so: \
             `#[group(compat = \"eventsource\", on_unknown = \"skip\")]`; else name another group here, which has \
             a queue of its own"
                .to_owned(),
        );
    }
    if name.ends_with(STREAM) {
        ways.push(
            "let a policy say what the stream keeps (`rabbitmqctl set_policy`, `max-age`, `max-length-bytes`), and leave \
             here what it was declared with"
                .to_owned(),
        );
        ways.push(format!(
            "or delete it with all that is in it (`rabbitmqctl delete_queue {name}`), once its group has read that, and \
             start again; what is published meanwhile is not delivered to it"
        ));
        return ways;
    }
    let is_carried = |error: &&DeclareError| {
        field(error).is_some_and(|(field, wanted, found)| {
            matches!(field, "x-max-length" | "x-max-length-bytes" | "x-message-ttl" | "x-expires")
                && wanted.is_none()
                && found.is_some()
        })
    };
    if errors.iter().any(is_carried) {
        ways.push(
            "where this program has `limits_in = \"policies\"`, `limits_in = \"arguments\"` keeps what the broker has"
                .to_owned(),
        );
    }
    ways.push(
        "give the queue what this program declares, without a loss and while it is used: `Bus::migrate`"
            .to_owned(),
    );
    ways.push(
        "give the group another name, and with it new queues; the old ones stay bound, and fill, until they are \
         deleted"
            .to_owned(),
    );
    ways.push(format!(
        "or delete the queue once it is empty (`rabbitmqctl list_queues name messages consumers`, then \
         `rabbitmqctl delete_queue {name}`), and start again; what is published meanwhile is not delivered to it"
    ));
    ways
}

/// What the stream of a group is named after its queue.
const STREAM: &str = ".stream";

/// Neither a dead-letter queue nor a retry queue.
fn is_work_queue(name: &str) -> bool {
    !name.ends_with(".dlq") && !name.contains(".retry.")
}

/// Differs as a queue of eventsource-py does: classic, without anything but its dead-letter exchange.
/// A broker names the first difference only, and reads a missing type as none or as classic.
fn is_eventsource(error: &DeclareError) -> bool {
    let Some((field, wanted, found)) = field(error) else { return false };
    match field {
        "x-queue-type" => wanted == Some("quorum") && found.is_none_or(|found| found == "classic"),
        "x-delivery-limit" | "x-overflow" | "x-dead-letter-strategy" => found.is_none(),
        _ => false,
    }
}

/// The kind of queue that is there, where it is another one. RabbitMQ 3 gives a classic queue no type.
fn kind_found(error: &DeclareError) -> Option<&str> {
    let (field, _, found) = field(error)?;
    (field == "x-queue-type").then(|| found.unwrap_or("classic"))
}

/// Whether the difference follows from the kind of the queue.
fn comes_with_kind(error: &DeclareError) -> bool {
    field(error).is_some_and(|(field, ..)| {
        matches!(field, "x-delivery-limit" | "x-overflow" | "x-dead-letter-strategy")
    })
}

/// The setting of `#[group]` that says what the broker has; `None` when there is no such setting.
fn kept(error: &DeclareError, queue: &str) -> Option<String> {
    let dlq = queue.ends_with(".dlq");
    if let Some(kind) = kind_found(error).filter(|_| !dlq) {
        return Some(format!("kind = {kind:?}"));
    }
    let (field, _, found) = field(error)?;
    let found = found?;
    match (field, dlq) {
        ("x-overflow", false) => Some(format!("overflow = {found:?}")),
        ("x-max-length", false) => Some(format!("max_length = {found}")),
        ("x-max-length", true) => Some(format!("dlq_max_length = {found}")),
        ("x-max-length-bytes", false) => Some(format!("max_length_bytes = \"{found} B\"")),
        ("x-max-age", false) => Some(format!("max_age = {found:?}")),
        ("x-message-ttl", false) => Some(format!("message_ttl = \"{found}ms\"")),
        ("x-message-ttl", true) => Some(format!("dlq_ttl = \"{found}ms\"")),
        _ => None,
    }
}
