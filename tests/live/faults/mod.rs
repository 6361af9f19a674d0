//! Faults, one at a time, under a load that goes on: what was confirmed is handled or dead-lettered in
//! every group, within a bound of time and of duplicates, and the bus tells how it is meanwhile.
//!
//! Each test says what it breaks. What it breaks it for is in `load`, with the `publishers`, and the books
//! are in `ledger`.

mod alarms;
mod broker;
mod cluster;
mod crash;
mod ledger;
mod load;
mod messages;
mod network;
mod publishers;
