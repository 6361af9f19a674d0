//! What becomes of an event: decided by its id, so that every process and the report know it.

/// What the handlers of every group do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Done at the first attempt.
    Plain,
    /// Done at the first attempt, and another event follows from it.
    Answered,
    /// Fails so often, and is done then.
    Fails(u32),
    /// Panics at the first attempt.
    Panics,
    /// Takes longer than its handler may, at the first attempt.
    Hangs,
    /// Fails always, and so is dead-lettered when its retries are spent.
    Doomed,
    /// Is dead-lettered at once.
    Rejected,
}

/// What the event of that id is in for.
pub(crate) fn fate(id: &str) -> Fate {
    let hash = hash(id);
    match hash % 1000 {
        0..10 => Fate::Doomed,
        10..15 => Fate::Rejected,
        15..65 => Fate::Fails(1 + u32::try_from(hash / 1000 % 3).unwrap_or(0)),
        65..75 => Fate::Panics,
        75..80 => Fate::Hangs,
        80..180 => Fate::Answered,
        _ => Fate::Plain,
    }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_many_events_have_each_fate() {
        let fates: Vec<Fate> = (0..10_000).map(|number| fate(&format!("7-0-1-{number}"))).collect();

        let count = |fate: Fate| fates.iter().filter(|it| **it == fate).count();
        for (fate, least) in [
            (Fate::Doomed, 50),
            (Fate::Rejected, 20),
            (Fate::Fails(1), 100),
            (Fate::Fails(2), 100),
            (Fate::Fails(3), 100),
            (Fate::Panics, 50),
            (Fate::Hangs, 20),
            (Fate::Answered, 700),
            (Fate::Plain, 7500),
        ] {
            assert!(count(fate) >= least, "{fate:?}: {}", count(fate));
        }
    }
}
