//! The event that is measured, and the handlers that take it.
//!
//! A parcel of so many bytes comes in, as every contender sends it. `Numbered` stands for handlers and
//! groups that a program has by the hundred.

use std::str;

use es_bus::{
    Call, Input, Outcome, Registry, State, event, handler,
    registry::{Bind, Emitted, GroupRef, Handler, HandlerDef, Location},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::tally::Tally;

/// The group of [`take`]; its queue is `{exchange}.parcels`.
pub(crate) const GROUP: &str = "parcels";
/// What a parcel is published with.
pub(crate) const KEY: &str = "Parcel.ParcelSent";
/// The due time of one that takes as long as the run.
pub(crate) const SLOW: u64 = u64::MAX;
/// How many parcels are made beforehand; they are sent again and again.
const POOL: usize = 1024;

/// A parcel left the house.
#[event(aggregate = "Parcel", aggregate_id = parcel_id)]
#[derive(Serialize, Deserialize)]
pub(crate) struct ParcelSent {
    pub(crate) parcel_id: String,
    /// When it should have been sent, in microseconds of the run; 0 where nobody asks.
    pub(crate) due_us: u64,
    content: String,
}

impl ParcelSent {
    /// A parcel that is `size` bytes of JSON, of an aggregate of its own.
    pub(crate) fn of_size(size: usize) -> Self {
        let mut parcel = Self { parcel_id: Uuid::new_v4().to_string(), due_us: 0, content: String::new() };
        let bare = parcel.encode().len();
        parcel.content = "x".repeat(size.saturating_sub(bare));
        parcel
    }

    /// Its JSON.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and a number are JSON")
    }

    /// The same, due at another time.
    pub(crate) fn due(&self, due_us: u64) -> Self {
        Self { parcel_id: self.parcel_id.clone(), due_us, content: self.content.clone() }
    }
}

/// Parcels of a size, made beforehand.
pub(crate) fn pool(size: usize) -> Vec<ParcelSent> {
    (0..POOL).map(|_| ParcelSent::of_size(size)).collect()
}

/// The one of its turn.
pub(crate) fn of<T>(all: &[T], number: u64) -> &T {
    &all[number as usize % all.len()]
}

#[handler(group = "parcels")]
async fn take(parcel: ParcelSent, State(tally): State<Tally>) {
    if parcel.due_us == SLOW {
        return tally.until_released().await;
    }
    tally.one(parcel.due_us);
}

/// A program that takes parcels, with `handlers` handlers in its group, each with a binding.
pub(crate) fn registry(handlers: usize) -> Registry {
    let registry = publishing().handler::<take>();
    registry.merge(&first::<true>(handlers.saturating_sub(1)))
}

/// A program that only publishes parcels.
pub(crate) fn publishing() -> Registry {
    Registry::new().event::<ParcelSent>()
}

/// A program of so many groups, with a handler each.
pub(crate) fn groups(count: usize) -> Registry {
    first::<false>(count)
}

/// One of a thousand handlers that differ in name and binding, in [`GROUP`] or in groups of their own.
struct Numbered<const N: u32, const TOGETHER: bool>;

impl<const N: u32, const TOGETHER: bool> Numbered<N, TOGETHER> {
    const NAME_BYTES: [u8; 5] = digits(*b"n0000", N);
    const NAME: &'static str = text(&Self::NAME_BYTES);
    const KEY_BYTES: [u8; 12] = digits(*b"Letter.n0000", N);
    const BINDING_KEY: &'static str = text(&Self::KEY_BYTES);
}

impl<const N: u32, const TOGETHER: bool> Handler for Numbered<N, TOGETHER> {
    const DEF: &'static HandlerDef = &HandlerDef {
        bus: "default",
        group: GroupRef { name: if TOGETHER { GROUP } else { Self::NAME }, def: None },
        name: Self::NAME,
        formerly: &[],
        binds: &[Bind::Key(Self::BINDING_KEY)],
        has_bind: true,
        foreign: true,
        inputs: &[Input::Raw],
        needs: |_| (),
        emits: Emitted::By(|_| ()),
        settings: &[],
        layer: None,
        call: Call::One(|_| Box::pin(async { Outcome::Done })),
        location: Location { module: module_path!(), file: file!(), line: line!() },
    };
}

/// The number in the last four bytes.
const fn digits<const LEN: usize>(mut text: [u8; LEN], number: u32) -> [u8; LEN] {
    let mut rest = number;
    let mut place = LEN;
    while place > LEN - 4 {
        place -= 1;
        text[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

const fn text(bytes: &'static [u8]) -> &'static str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("digits and letters"),
    }
}

/// The first `count` of the thousand.
fn first<const TOGETHER: bool>(count: usize) -> Registry {
    assert!(count <= 1000, "a thousand are there, not {count}");
    let mut registry = Registry::new();
    macro_rules! one {
        ($number:expr) => {
            if registry.handlers().len() < count {
                registry = registry.handler::<Numbered<{ $number }, TOGETHER>>();
            }
        };
    }
    macro_rules! ten {
        ($macro:ident, $from:expr, $step:expr) => {
            $macro!($from);
            $macro!($from + $step);
            $macro!($from + 2 * $step);
            $macro!($from + 3 * $step);
            $macro!($from + 4 * $step);
            $macro!($from + 5 * $step);
            $macro!($from + 6 * $step);
            $macro!($from + 7 * $step);
            $macro!($from + 8 * $step);
            $macro!($from + 9 * $step);
        };
    }
    macro_rules! ones {
        ($from:expr) => {
            ten!(one, $from, 1);
        };
    }
    macro_rules! tens {
        ($from:expr) => {
            ten!(ones, $from, 10);
        };
    }
    ten!(tens, 0, 100);
    registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_as_large_as_it_should_be() {
        assert_eq!(ParcelSent::of_size(200).encode().len(), 200);
        assert_eq!(ParcelSent::of_size(2048).encode().len(), 2048);
    }

    #[test]
    fn a_program_has_as_many_handlers_and_groups_as_were_asked_for() {
        assert_eq!(registry(1).handlers().len(), 1);
        assert_eq!(registry(1000).handlers_of(GROUP).count(), 1000);
        assert_eq!(groups(10).group_names()[9], "n0009");
        assert_eq!(groups(1000).group_names().len(), 1000);
    }
}
