//! Half a minute of the soak, of which ten are run on demand: see CONTRIBUTING.md.

use std::{sync::Arc, time::Duration};

use crate::support::{Launch, TempDir};

/// What the run may take, with the boot of its node, faults that come late on a busy machine, and the
/// draining.
const WITHIN: Duration = Duration::from_secs(240);

/// The seed has killed and frozen processes, a killed broker, a crashed queue and a bad network in its
/// first fourteen faults.
#[test]
fn nothing_is_lost_while_a_fault_comes_every_two_seconds() {
    let dir = Arc::new(TempDir::new());
    let soak = Launch::new(env!("CARGO_BIN_EXE_soak"), &dir)
        .arg("--duration")
        .arg("30s")
        .arg("--every")
        .arg("2s")
        .arg("--seed")
        .arg("388");

    let ended = soak.start().wait(WITHIN);

    ended.assert_code(0);
    assert!(ended.stdout.contains("14 faults") && ended.stdout.contains("NOTHING LOST"), "{}", ended.stdout);
}
