//! Which attempt a handler is at.

use super::FromDelivery;
use crate::{
    handler::{Attempt, Invocation},
    outcome::HandlerError,
};

impl FromDelivery for Attempt {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        Ok(invocation.attempt())
    }
}
