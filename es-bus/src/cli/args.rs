//! The arguments of every command: what is written after the program's name.
//!
//! The doc comments are the help. A command has a variant in [`Command`], its arguments here, and a file of its
//! own beside this one, which [`run`](super::run) leads to. `{bin}` in an example becomes the program's name.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::model::StreamOffset;

/// Run this service, and operate it: look at what it declares, and at what is on the broker.
#[derive(Debug, Parser)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done, and nothing to complain of
  1    failed, a check found something, or a part of it was refused
  2    changes are pending (topology plan, verify)
  3    a conflict (topology plan, verify, apply, prune)
  64   the command line is wrong
  130  interrupted";

/// The commands of the binary `es-bus`, which knows a service by its manifest: none runs it, and all take the file.
pub(super) fn over_a_manifest(command: clap::Command) -> clap::Command {
    let manifest = Arg::new(MANIFEST)
        .long(MANIFEST)
        .global(true)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The es-bus.lock of the service [default: ES_BUS_MANIFEST, else es-bus.lock here]")
        .help_heading("Global options");
    command
        .about("Operate a service by its es-bus.lock: look at what it declares, and at what is on the broker")
        .long_about(
            "Operate a service by its es-bus.lock: look at what it declares, and at what is on the broker.\n\nThe file is \
             the one that the service's own program writes (`lock`) and that is committed with it. Where the broker is, \
             and what else is not the program's own, is read from es-bus.toml, .env and the environment, as the service \
             reads it.",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .arg(manifest)
        .mut_subcommand("run", |run| run.hide(true))
        .after_help(format!("{MANIFEST_EXAMPLES}\n\n{EXIT_CODES}"))
}

/// The name of the argument that names the manifest.
pub(super) const MANIFEST: &str = "manifest";

const MANIFEST_EXAMPLES: &str = "\
Examples:
  {bin} topology plan
  {bin} --manifest shop/es-bus.lock topology show
  ES_BUS_URL=amqp://ops:secret@rabbit/shop {bin} dlq count
  ES_BUS_MANIFEST=shop/es-bus.lock {bin} doctor";

/// What every command takes. No `Debug` of the URL: it may hold a password.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// The broker: amqp://user:password@host:5672/vhost.
    ///
    /// Others on this machine can read a password that stands here; in ES_BUS_URL they cannot.
    #[arg(long, global = true, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Read this configuration file instead of es-bus.toml.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Write JSON, for programs.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// When to write colours: auto (on a terminal, unless NO_COLOR is set), always, never.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(super) color: Color,
    /// Say more in the log on standard error; twice, all. RUST_LOG beats it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

impl std::fmt::Debug for Global {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Global")
            .field("config", &self.config)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

/// When to write colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// One command; each has a file of its own.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Handlers(HandlersArgs),
    #[command(subcommand)]
    Topology(Topology),
    #[command(subcommand)]
    Stream(Stream),
    Explain(ExplainArgs),
    Lock(LockArgs),
    #[command(subcommand)]
    Dlq(Dlq),
    Publish(PublishArgs),
    Tail(TailArgs),
    Doctor(DoctorArgs),
    Config(ConfigArgs),
    Init(InitArgs),
    Completions(CompletionsArgs),
}

/// Run the service: declare what is missing, and handle events until SIGTERM or Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} run
  {bin} run --group projections --group audit")]
pub(super) struct RunArgs {
    /// Consume this group only; repeat it for several. Else ES_BUS_GROUPS says, or all are consumed.
    #[arg(short, long, value_name = "GROUP")]
    pub(super) group: Vec<String>,
}

/// Say what is wrong with what the program declares, and with its configuration.
///
/// The same checks run at every start; no broker is asked. What is merely odd is told as a warning or a note, and is no
/// failure. With --lock it also fails when a running system would break by what changed since the lock was written.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} check
  {bin} check --lock
  {bin} check --lock --update
  {bin} check --json")]
pub(super) struct CheckArgs {
    /// Compare with this file as well; with es-bus.lock when none is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = LOCK_FILE)]
    pub(super) lock: Option<PathBuf>,
    /// Agree to what changed: show it, and write the lock anew.
    #[arg(long, requires = "lock")]
    pub(super) update: bool,
}

/// List the handlers: what they ask for, what they take, how often they try again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} handlers
  {bin} handlers --group projections")]
pub(super) struct HandlersArgs {
    /// Of this group only.
    #[arg(short, long, value_name = "GROUP")]
    pub(super) group: Option<String>,
}

/// What the program declares on a broker: exchanges, queues, bindings.
#[derive(Debug, Subcommand)]
pub(super) enum Topology {
    Show(ShowTopologyArgs),
    Plan(PlanArgs),
    Verify(VerifyArgs),
    Apply(ApplyArgs),
    Prune(PruneArgs),
    Migrate(MigrateArgs),
    Export(ExportArgs),
}

/// Groups that read a stream.
#[derive(Debug, Subcommand)]
pub(super) enum Stream {
    Position(StreamPositionArgs),
}

/// Say where a group goes on in its stream, while none of its workers is there.
///
/// PLACE is `first`, `last`, `next`, an offset, or a time. What is read a second time is handled a second time.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} stream position --group projections --to first
  {bin} stream position --group projections --to 1042
  {bin} stream position --group projections --to 2026-01-31T12:00:00Z")]
pub(super) struct StreamPositionArgs {
    /// The group.
    #[arg(short, long, value_name = "GROUP")]
    pub(super) group: String,
    /// Where to go on.
    #[arg(long, value_name = "PLACE")]
    pub(super) to: StreamOffset,
}

/// Show exchanges, queues and bindings as tables; asks no broker.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} topology show
  {bin} topology show --json")]
pub(super) struct ShowTopologyArgs {}

/// What a plan has beside what is declared.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Pruned {
    /// Also remove what this program once declared and no longer does; wants the setting `program`.
    #[arg(long)]
    pub(super) prune: bool,
    /// Remove this queue although messages are in it, which are lost; may be repeated.
    #[arg(long, value_name = "QUEUE", requires = "prune")]
    pub(super) discard: Vec<String>,
}

/// Compare the broker with what the program declares, and say what would be done; nothing is changed.
///
/// Ends with 0 when there is nothing to do, 2 when there is, 3 when something is in the way. Settings and bindings are
/// seen through the management API; over AMQP alone it says what it cannot see.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} topology plan
  {bin} topology plan --prune
  {bin} topology plan --json | jq .outcome")]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) pruned: Pruned,
}

/// Give queues that are there with other settings those that the program declares, while events keep coming.
///
/// Each queue is emptied, deleted, declared anew and filled again; none of its events is lost, and an event may come
/// twice. Workers may run on. Interrupted or killed at any moment it goes on where it was when it is called again.
/// Needs the management API. Ends with 0; with --dry-run with 2 when there is something to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} topology migrate --dry-run
  {bin} topology migrate --yes --rate 2000")]
pub(super) struct MigrateArgs {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Move so many messages a second at most.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,
    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,
}

/// Fail unless the broker has exactly what the program declares: for CI and probes; nothing is changed.
///
/// One line says what differs. What is left over, was made by hand or cannot be seen counts as well.
/// Ends with 0, with 2 when something differs, or with 3 when it is in the way.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} topology verify
  {bin} topology verify --json")]
pub(super) struct VerifyArgs {}

/// Bring the broker to what the program declares; shows the plan first, and asks.
///
/// May be done again, and by several at once. What is in the way is not changed: it ends with 3 then, and nothing is done.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} topology apply
  {bin} topology apply --prune --yes
  {bin} topology apply --prune --discard shop.old-audit")]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    pub(super) pruned: Pruned,
    /// Do not ask. Needed where nobody can be asked, as in a script.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// Remove what the program once declared and no longer does; shows it first, and asks.
///
/// Known is what `topology apply` did under the setting `program`. A queue that has messages or consumers
/// stays. What is missing is not declared: `topology apply` does that, and comes first.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} topology plan --prune
  {bin} topology prune
  {bin} topology prune --discard shop.old-audit --yes")]
pub(super) struct PruneArgs {
    /// Remove this queue although messages are in it, which are lost; may be repeated.
    #[arg(long, value_name = "QUEUE")]
    pub(super) discard: Vec<String>,
    /// Do not ask. Needed where nobody can be asked, as in a script.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// Write the topology in a format that other tools read; asks no broker.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} topology export definitions --vhost shop -o definitions.json
  {bin} topology export svg -o topology.svg
  {bin} topology export permissions --vhost shop --users shop-admin,shop-service | sh
  {bin} topology export asyncapi --title Shop --release 1.4.0")]
pub(super) struct ExportArgs {
    /// Which format.
    #[arg(value_enum)]
    pub(super) format: Format,
    /// The virtual host of definitions and permissions; that of the URL when it is not said, else /.
    #[arg(long, value_name = "VHOST")]
    pub(super) vhost: Option<String>,
    /// Whose permissions: who makes the topology, and as whom the program runs. NAME-admin,NAME-service, of the
    /// program's name, when it is not said.
    #[arg(long, value_name = "ADMIN,SERVICE", value_parser = users)]
    pub(super) users: Option<(String, String)>,
    /// The title of the AsyncAPI document; the program's name when it is not said.
    #[arg(long, value_name = "TITLE")]
    pub(super) title: Option<String>,
    /// The version of the program that the AsyncAPI document is of.
    #[arg(long, value_name = "VERSION", default_value = "0.0.0")]
    pub(super) release: String,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

/// A format that a topology can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// RabbitMQ's definitions, for `rabbitmqctl import_definitions`.
    Definitions,
    /// A drawing as text, which code forges render.
    Mermaid,
    /// A drawing that stands for itself.
    Svg,
    /// The least rights of two users, as `rabbitmqctl` lines; with --json as definitions.
    Permissions,
    /// An AsyncAPI 3.0 document.
    Asyncapi,
    /// JSON Schemas of the events whose types derive `schemars::JsonSchema`.
    Schemas,
}

fn users(text: &str) -> Result<(String, String), String> {
    match text.split_once(',') {
        Some((admin, service)) if !admin.is_empty() && !service.is_empty() && !service.contains(',') => {
            Ok((admin.to_owned(), service.to_owned()))
        }
        _ => Err("write two names with a comma between: shop-admin,shop-service".to_owned()),
    }
}

/// Say who gets an event, and why somebody does not; asks no broker.
///
/// By which exchange, binding and queue, with which retries, and where it ends. What other programs have bound is
/// not known here.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} explain OrderPlaced
  {bin} explain OrderPlaced --why audit
  {bin} explain --key order.created.eu --exchange erp.events --header urgent=true")]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub(super) about: About,
    /// Published to this exchange; the event's own, or the program's, when it is not said.
    #[arg(long, value_name = "EXCHANGE")]
    pub(super) exchange: Option<String>,
    /// A header of the message; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    pub(super) header: Vec<(String, String)>,
    /// Also say why this handler gets it or not; of a group, all of its handlers.
    #[arg(long, value_name = "HANDLER|GROUP")]
    pub(super) why: Option<String>,
}

/// What is asked about.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = false)]
pub(super) struct About {
    /// The event, by its name or by its routing key.
    #[arg(value_name = "EVENT")]
    pub(super) event: Option<String>,
    /// A message with this routing key, whoever publishes it.
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
}

/// Write down what the program declares: a file to commit, which `check --lock` compares with; asks no broker.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} lock
  {bin} check --lock")]
pub(super) struct LockArgs {
    /// The file.
    #[arg(value_name = "FILE", default_value = LOCK_FILE)]
    pub(super) file: PathBuf,
    /// Is refused: a lock holds all groups.
    #[arg(short, long, value_name = "GROUP", hide = true)]
    pub(super) group: Vec<String>,
}

/// Where a lock is when nothing else is said.
const LOCK_FILE: &str = "es-bus.lock";

/// Dead letters: what handlers gave up, and what the broker could not keep.
#[derive(Debug, Subcommand)]
pub(super) enum Dlq {
    Count(CountArgs),
    List(ListArgs),
    Show(ShowArgs),
    Replay(ReplayArgs),
    Drop(DropArgs),
    Purge(PurgeArgs),
    Check(CheckDlqArgs),
}

/// Whose dead letters.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Whose {
    /// The dead letters of this group; may be left out where the program has only one.
    #[arg(short, long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// The dead letters in this queue, whoever declares it.
    #[arg(long, value_name = "QUEUE", conflicts_with = "group")]
    pub(super) queue: Option<String>,
}

/// Which dead letters.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Which {
    /// The one of this id, as `dlq list` shows it; may be repeated.
    #[arg(long, value_name = "ID")]
    pub(super) id: Vec<String>,
    /// Those of the event of this id: one for each handler that it failed in.
    #[arg(long, value_name = "ID")]
    pub(super) event_id: Vec<String>,
    /// Those of this type of event: OrderPlaced.
    #[arg(long = "type", value_name = "EVENT")]
    pub(super) event_type: Vec<String>,
    /// Those with this reason: timeout, panic, handler_error …
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Vec<String>,
    /// Those that failed in this handler.
    #[arg(long, value_name = "HANDLER")]
    pub(super) handler: Vec<String>,
}

/// Which dead letters, where all of them have to be asked for.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = true, args = ["all", "id", "event_id", "event_type", "reason", "handler"])]
pub(super) struct Chosen {
    #[command(flatten)]
    pub(super) which: Which,
    /// All of them.
    #[arg(long, conflicts_with_all = ["id", "event_id", "event_type", "reason", "handler"])]
    pub(super) all: bool,
}

/// Count the dead letters of each group.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} dlq count
  {bin} dlq count --group projections")]
pub(super) struct CountArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
}

/// List dead letters, oldest first; they stay where they are.
///
/// While they are looked at nobody else sees them: about a second for ten thousand.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} dlq list --group projections
  {bin} dlq list --group projections --type OrderPlaced --reason timeout --limit 200")]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    #[command(flatten)]
    pub(super) which: Which,
    /// List no more than so many.
    #[arg(short, long, value_name = "N", default_value_t = 50)]
    pub(super) limit: usize,
}

/// Show one dead letter with its error, headers and body; it stays where it is.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} dlq show --group projections --id 0198c7a4-5f3e-7d61-9f0a-2b6f8a1c4d3e")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// Its id, as `dlq list` shows it.
    #[arg(long, value_name = "ID")]
    pub(super) id: String,
}

/// Send dead letters back to be handled again, by the group and the handler that they failed in.
///
/// Each is taken out of the dead-letter queue once the broker has confirmed its replay. What fails again comes
/// back with a new id.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} dlq replay --group projections --reason timeout --dry-run
  {bin} dlq replay --group projections --id 0198c7a4-5f3e-7d61-9f0a-2b6f8a1c4d3e
  {bin} dlq replay --group projections --all --limit 100")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    #[command(flatten)]
    pub(super) chosen: Chosen,
    /// Replay no more than so many, oldest first.
    #[arg(short, long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Only say how many would be replayed.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Publish to the first exchange and key: every group that is bound gets the event again.
    #[arg(long)]
    pub(super) broadcast: bool,
}

/// Throw some dead letters away, for good.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} dlq drop --group projections --id 0198c7a4-5f3e-7d61-9f0a-2b6f8a1c4d3e
  {bin} dlq drop --group projections --type OrderPlaced --dry-run
  {bin} dlq drop --group projections --type OrderPlaced --yes")]
pub(super) struct DropArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    #[command(flatten)]
    pub(super) chosen: Chosen,
    /// Only say how many would be thrown away.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask. Needed where nobody can be asked, as in a script.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// Throw all dead letters of a group away, for good.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} dlq purge --group projections --export dead-letters.jsonl
  {bin} dlq purge --group projections --yes")]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// First write them to this new file, one line of JSON each.
    #[arg(long, value_name = "FILE")]
    pub(super) export: Option<PathBuf>,
    /// Only say how many would be thrown away.
    #[arg(long, conflicts_with = "export")]
    pub(super) dry_run: bool,
    /// Do not ask. Needed where nobody can be asked, as in a script.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// Fail when there are too many dead letters: for an alert, or a step of a deployment.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} dlq check
  {bin} dlq check --group projections --max 100")]
pub(super) struct CheckDlqArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// How many a group may have.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) max: u64,
}

/// Publish one event of the program, and wait until the broker has confirmed it.
///
/// The data are the event's own fields; es-bus writes the envelope. They are read as the event first, so what
/// could not be handled is not published.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} publish OrderPlaced --data '{\"order_id\": \"o-1\", \"total\": 99.9}'
  {bin} publish OrderPlaced --data @order.json --header region=eu
  jq .order dump.json | {bin} publish Order.OrderPlaced --data -")]
pub(super) struct PublishArgs {
    /// The event, by its name or by its routing key.
    #[arg(value_name = "EVENT")]
    pub(super) event: String,
    /// Its fields as JSON: the text itself, @file, or - for standard input.
    #[arg(short, long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub(super) data: String,
    /// A header, for those who bind by headers; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    pub(super) header: Vec<(String, String)>,
    /// Its id; a new one when it is not said. Publishing an id again is a duplicate that consumers can tell.
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// The id of its aggregate, where the event names no field for it.
    #[arg(long, value_name = "ID")]
    pub(super) aggregate_id: Option<String>,
    /// The process that it is a part of.
    #[arg(long, value_name = "ID")]
    pub(super) correlation_id: Option<String>,
    /// Another routing key than the event's own.
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as name=value".to_owned()),
    }
}

/// Print events as they come, until Ctrl-C; takes nothing from the groups.
///
/// A queue of its own is bound to the exchange, and goes with the command. It holds 10 000 events at most: of
/// what comes faster than it can be printed, the oldest is left out.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} tail
  {bin} tail --key 'Order.*' --key Invoice.InvoiceSent
  {bin} tail --group projections --json | jq .body
  {bin} tail --limit 1")]
pub(super) struct TailArgs {
    /// Only keys that match this pattern; may be repeated. Without it, everything.
    #[arg(short, long, value_name = "PATTERN", conflicts_with = "group")]
    pub(super) key: Vec<String>,
    /// From this exchange; the program's own when it is not said.
    #[arg(long, value_name = "EXCHANGE", conflicts_with = "group")]
    pub(super) exchange: Option<String>,
    /// What the bindings of this group bring, from all of its exchanges.
    #[arg(short, long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// End after so many events.
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) limit: Option<u64>,
}

/// Look for all that can be wrong with the service on its broker, and say what to do.
///
/// Nothing is changed: what is looked at is the connection, the login, the virtual host, whether the broker takes
/// publishes, whether what the program declares is there and as declared, who consumes, and what failed; through the
/// management API, where there is one, also versions, alarms, rights and bindings.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} doctor
  {bin} doctor --json --watch 0s")]
pub(super) struct DoctorArgs {
    /// How long to watch whether dead letters grow.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub(super) watch: std::time::Duration,
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    crate::duration::parse(text).map_err(|error| error.to_string())
}

/// Show the effective configuration: each value, and where it was said.
///
/// Passwords are masked.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} config
  {bin} config --json")]
pub(super) struct ConfigArgs {}

/// Write commented configuration files, and compose files for RabbitMQ.
///
/// es-bus.toml, .env.example, compose.yaml for one node, compose.cluster.yaml for three. Files that are there already stay as they are.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} init
  {bin} init --dir deploy --force")]
pub(super) struct InitArgs {
    /// Where to write them.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// Overwrite files that are there.
    #[arg(long)]
    pub(super) force: bool,
}

/// Write the completions of a shell for this program.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  {bin} completions bash > ~/.local/share/bash-completion/completions/{bin}
  {bin} completions fish > ~/.config/fish/completions/{bin}.fish")]
pub(super) struct CompletionsArgs {
    /// Which shell.
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}
