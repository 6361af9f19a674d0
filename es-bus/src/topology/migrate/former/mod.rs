//! A group that was renamed: what there is under a name that it had comes to it, and nothing of that name is left.
//!
//! `decide` tells the next step from what is there and is pure, `perform` does it.
//!
//! As with the settings of a queue, all that is known stands on the broker. What holds after every step: what was
//! bound to the old queue leads to the new one, to the one aside of that, or still to the old one; and each message is
//! in one of those, or in a queue of its own kind under the old name.
//!
//! # The way of a queue `O` to `N`
//!
//! 1. *`DeclareNew`*: `N`, bound to nothing, and what belongs to it.
//! 2. *Prepare*, *Divert*, *Unbind*: `N.migrating` is bound to all that `O` is bound to, and then `O` to nothing, as when
//!    `N` itself is migrated. Where `N` is bound to all of it already, an old replica has bound `O` once more, and
//!    there is nothing to divert.
//! 3. *`TakeRetries`*: `O.in` leads to `N` in place of `O`. A worker of `N` takes what was written for `O` as its own.
//! 4. *`MoveOver`*: workers of the old version go on consuming `O`; what they do not take is moved to `N`, which nobody
//!    consumes yet. So what was there first stays first.
//! 5. The rest of the way of `N` itself: *Return*, *Open*, *Close*, and so on.
//! 6. *`MoveLetters`*: dead letters. Then, while somebody consumes `O`, *Mark* is the end: `O` is left to them, unbound and
//!    empty, as they would declare and bind it anew if it went. The next call begins at 2.
//! 7. When nobody does: *`DropFormer`*, *`MoveWaiting`*, *`DropWaiting`*, *`DropParts`*; nothing of `O` is left.

mod decide;
mod perform;

#[cfg(test)]
mod tests;

pub(crate) use self::decide::{Renamed, renamed};
