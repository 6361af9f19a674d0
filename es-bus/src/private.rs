//! What generated code may call, and nothing else. No promise is made about any of it.

/// Submits a definition to the registry, by whichever collector the crate was built with.
#[cfg(not(feature = "linkme"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __submit {
    ($submission:expr) => {
        $crate::__private::inventory::submit! { $submission }
    };
}

/// Submits a definition to the registry, by whichever collector the crate was built with.
#[cfg(feature = "linkme")]
#[doc(hidden)]
#[macro_export]
macro_rules! __submit {
    ($submission:expr) => {
        #[$crate::__private::linkme::distributed_slice($crate::__private::SUBMISSIONS)]
        #[linkme(crate = $crate::__private::linkme)]
        static __SUBMISSION: $crate::__private::Submission = $submission;
    };
}

pub use crate::__submit as submit;
#[cfg(not(feature = "linkme"))]
pub use inventory;
#[cfg(feature = "linkme")]
pub use linkme;

pub use std::{
    borrow::Cow,
    boxed::Box,
    option::Option::{self, None, Some},
    result::Result::{self, Err, Ok},
    string::ToString,
    vec::Vec,
};

pub use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::{
    event::{Event, EventKind, PayloadStyle, Unroutable},
    extract::{FromDelivery, Input, Need},
    handler::{BoxFuture, Call, Invocation},
    outcome::{Failure, HandlerError, IntoOutcome, Outcome, Verdict},
    registry::{
        DeclaredEvent, EventDef, FailureDef, Group, GroupDef, GroupRef, Handler, HandlerDef, Location,
        Submission,
    },
};

#[cfg(feature = "linkme")]
pub use crate::registry::SUBMISSIONS;

use crate::registry::{self, Facts, Registry, Report};

/// What `es_bus::check!()` runs: everything that is wrong with the linked program as a whole, but
/// for the state that only the program's own builder provides.
///
/// # Panics
///
/// With the report, when something is found, and when nothing at all is linked: a test that looks at
/// nothing passes for the wrong reason.
#[track_caller]
pub fn check_registry() {
    let registry = Registry::collected();
    let facts = if registry.is_empty() { Facts::new().consuming() } else { Facts::new() };
    let findings = registry::check(&registry, &facts);
    assert!(findings.is_empty(), "{}", Report(&findings));
}
