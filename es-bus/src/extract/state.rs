//! What the program shares with its handlers.

use std::{
    any::{TypeId, type_name},
    ops::Deref,
};

use super::{FromDelivery, Need};
use crate::{handler::Invocation, outcome::HandlerError};

/// A clone of what the program provided with `Bus::builder().state(..)`.
///
/// A handler that asks for a type that nobody provided is found before the broker is touched.
///
/// # Examples
///
/// ```
/// use es_bus::State;
/// use std::sync::{Arc, atomic::AtomicU64};
///
/// async fn count(State(total): State<Arc<AtomicU64>>) {
///     total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone + Send + Sync + 'static> FromDelivery for State<T> {
    fn needs(needs: &mut Vec<Need>) {
        needs.push(Need { id: TypeId::of::<T>(), type_name: type_name::<T>() });
    }

    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        invocation.state().map(Self).ok_or_else(|| {
            HandlerError::retry(format!("no state of type `{}` was provided", type_name::<T>()))
        })
    }
}
