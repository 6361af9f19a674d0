//! `topology`: what the program declares on a broker.

mod export;
mod show;

use super::{CommandError, Context, Exit, args::Topology};

pub(super) fn topology(command: &Topology, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    match command {
        Topology::Show(args) => show::show(args, cx),
        Topology::Export(args) => export::export(args, cx),
    }
}
