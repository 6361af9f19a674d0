//! Everything in which a declared queue or exchange differs from the one on the broker.
//!
//! A broker names one difference and stops. So what it has is taken over into a probe, and the probe
//! is declared, until nothing more is found. A probe that the broker accepts changes nothing: what
//! it declares is there already, exactly so.

use bytes::Bytes;

use crate::{
    message::{Headers, Value},
    model::{Exchange, ExchangeKind, Queue, QueueKind},
    transport::{Admin, DeclareError},
};

/// More settings than a queue has; a broker that names more is going in circles.
const MOST: usize = 24;

/// The differences of a queue, the first one known.
pub(super) async fn of_queue(admin: &dyn Admin, queue: &Queue, first: DeclareError) -> Vec<DeclareError> {
    let wanted = queue.argument_table();
    let mut probe = queue.clone();
    let mut found = vec![first];
    while found.len() < MOST && adopt(&mut probe, &wanted, found.last()) {
        // Gone meanwhile: the probe would create it, with settings that nobody asked for.
        if !matches!(admin.queue_status(&queue.name).await, Ok(Some(_))) {
            break;
        }
        match admin.declare_queue(&probe).await {
            Err(error @ DeclareError::Mismatch { .. }) if !is_known(&found, &error) => found.push(error),
            Ok(()) | Err(_) => break,
        }
    }
    found
}

/// The differences of an exchange, the first one known.
pub(super) async fn of_exchange(
    admin: &dyn Admin,
    exchange: &Exchange,
    first: DeclareError,
) -> Vec<DeclareError> {
    let mut probe = exchange.clone();
    let mut found = vec![first];
    while found.len() < MOST {
        let Some((field, value)) = found.last().and_then(difference) else { break };
        let flag = value == Some("true");
        match field {
            "type" => match value.and_then(ExchangeKind::named) {
                Some(kind) => probe.kind = kind,
                None => break,
            },
            "durable" => probe.durable = flag,
            "auto_delete" => probe.auto_delete = flag,
            "internal" => probe.internal = flag,
            _ => break,
        }
        match admin.declare_exchange(&probe).await {
            Err(error @ DeclareError::Mismatch { .. }) if !is_known(&found, &error) => found.push(error),
            Ok(()) | Err(_) => break,
        }
    }
    found
}

fn difference(error: &DeclareError) -> Option<(&str, Option<&str>)> {
    match error {
        DeclareError::Mismatch { field: Some(field), found, .. } => Some((field, found.as_deref())),
        DeclareError::Mismatch { .. }
        | DeclareError::Forbidden { .. }
        | DeclareError::Refused { .. }
        | DeclareError::NoPlugin { .. }
        | DeclareError::Unmigrated { .. }
        | DeclareError::Down { .. }
        | DeclareError::Unanswered { .. }
        | DeclareError::Missing { .. }
        | DeclareError::Interrupted { .. } => None,
    }
}

fn is_known(found: &[DeclareError], error: &DeclareError) -> bool {
    let field = difference(error).map(|(field, _)| field);
    found.iter().any(|known| difference(known).map(|(field, _)| field) == field)
}

/// Takes over into the probe what the broker has; `false` when that is not known.
fn adopt(probe: &mut Queue, wanted: &Headers, error: Option<&DeclareError>) -> bool {
    let Some((field, value)) = error.and_then(difference) else { return false };
    let flag = value == Some("true");
    match field {
        "durable" => probe.durable = flag,
        "auto_delete" => probe.auto_delete = flag,
        "exclusive" => probe.exclusive = flag,
        "x-queue-type" => match value {
            Some("quorum") => probe.kind = QueueKind::Quorum,
            Some("classic") | None => probe.kind = QueueKind::Classic,
            Some("stream") => probe.kind = QueueKind::Stream,
            Some(_) => return false,
        },
        name if name.starts_with("x-") => take_over(probe, wanted, name, value),
        _ => return false,
    }
    true
}

/// Replaces one argument of the probe. Arguments that the model knows stand in fields of their own,
/// so the probe carries the whole table instead.
fn take_over(probe: &mut Queue, wanted: &Headers, name: &str, value: Option<&str>) {
    let mut table = probe.argument_table();
    match value {
        None => {
            table.remove(name);
        }
        Some(text) => {
            let is_number = !matches!(wanted.get(name), Some(Value::Str(_)));
            let value = match text.parse() {
                Ok(number) if is_number => Value::I64(number),
                _ => Value::Str(Bytes::copy_from_slice(text.as_bytes())),
            };
            table.insert(name.to_owned(), value);
        }
    }
    table.remove("x-queue-type");
    let bare = Queue::durable(probe.name.clone(), probe.kind);
    *probe = Queue {
        durable: probe.durable,
        exclusive: probe.exclusive,
        auto_delete: probe.auto_delete,
        arguments: table,
        ..bare
    };
}
