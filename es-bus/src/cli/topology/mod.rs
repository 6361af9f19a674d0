//! `topology`: what the program declares on a broker, and what the broker has of it.
//!
//! `plan` and `verify` look, `apply` and `prune` change; all four go by the same [`Plan`](crate::plan::Plan). `migrate`
//! does what a plan cannot: give a queue that is there other settings.

mod apply;
mod export;
mod migrate;
mod plan;
mod show;
mod verify;

use super::{CommandError, Context, Exit, args::Topology};

pub(super) async fn topology(command: &Topology, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    match command {
        Topology::Show(args) => show::show(args, cx),
        Topology::Plan(args) => plan::plan(args, cx).await,
        Topology::Verify(args) => verify::verify(args, cx).await,
        Topology::Apply(args) => apply::apply(args, cx).await,
        Topology::Prune(args) => apply::prune(args, cx).await,
        Topology::Migrate(args) => migrate::migrate(args, cx).await,
        Topology::Export(args) => export::export(args, cx),
    }
}
