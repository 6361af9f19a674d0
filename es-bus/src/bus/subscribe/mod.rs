//! Subscribing while the bus runs.
//!
//! [`Subscriptions`] is where a program asks, [`Subscribe`] what it asks for, [`Subscription`] the
//! guard that it gets, [`Subscribers`] the count of all handlers.

mod count;
mod error;
mod guard;
mod request;
mod subscriptions;

pub(super) use self::request::{Wanted, Wish, is_lost, misfit};
pub use self::{
    count::Subscribers, error::SubscribeError, guard::Subscription, request::Subscribe,
    subscriptions::Subscriptions,
};
