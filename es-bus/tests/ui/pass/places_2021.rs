// edition: 2021
//! Handlers and events wherever items can stand; attributes above and below.
use es_bus::{event, group, handler};
use serde::{Deserialize, Serialize};

#[cfg(feature = "on")]
#[event(aggregate = "Order")]
struct Above {
    id: NoSuchType,
}

#[event(aggregate = "Order")]
#[cfg(feature = "on")]
struct Below {
    id: NoSuchType,
}

#[handler(group = "g")]
#[cfg(feature = "on")]
async fn below(event: NoSuchType) {}

#[group]
#[cfg(feature = "on")]
struct NoGroup;

// serde's derive above the attribute sees the set before its inner attributes are taken off.
#[derive(Serialize, Deserialize)]
#[event(aggregate = "Order")]
pub enum Set {
    #[event(name = "SetPlaced")]
    Placed { id: u64 },
    Gone,
}

#[group]
struct Projections;

mod inner {
    pub(super) mod deeper {
        use super::super::*;

        #[event(aggregate = "Order")]
        #[derive(Serialize, Deserialize)]
        pub(in crate::inner) struct Placed {
            pub(in crate::inner) id: u64,
        }

        /// With documentation.
        #[handler(group = "g")]
        pub(in crate::inner) async fn placed(event: Placed) {
            let _ = event.id;
        }
    }

    pub(super) fn registered() -> &'static str {
        let _ = deeper::placed;
        <deeper::placed as es_bus::registry::Handler>::DEF.name
    }
}

macro_rules! audited {
    ($name:ident, $group:literal, $event:ty, $bind:expr) => {
        #[handler(group = $group, bind = $bind)]
        async fn $name(event: $event) {
            let _ = event;
        }
    };
}
audited!(audited_set, "audit", Set, "Order.#");

macro_rules! event_struct {
    ($name:ident, $aggregate:literal) => {
        #[event(aggregate = $aggregate)]
        #[derive(Serialize, Deserialize)]
        struct $name {
            id: u64,
        }
    };
}
event_struct!(FromMacro, "Order");

fn main() {
    #[event(aggregate = "Local")]
    #[derive(Serialize, Deserialize)]
    struct Local {
        id: u64,
    }

    #[handler(group = "g", bind = Local::ROUTING_KEY)]
    #[deprecated]
    async fn local(event: Local) {
        let _ = event.id;
    }

    let _ = (Projections, inner::registered(), FromMacro { id: 1 }.id, Set::Gone);
}
