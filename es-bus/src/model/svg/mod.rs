//! A topology as a drawing, in SVG: for a page of documentation, a wiki, a review.
//!
//! In comes a [`Topology`], out goes a text that stands for itself: no script, no font, no link. Each exchange
//! of events has a rail, each group a lane: what brings events to its queue, where failed ones wait, where they end.
//! A lane is as high as what stands in it, and a column as wide as its longest text, so nothing overlaps.

mod measure;
mod page;

use std::fmt::Write as _;

use self::{
    measure::{NAME, SMALL, columns_of, fit, pill_width, shortened, text_width, to_i32},
    page::Page,
};
use super::{
    Binding, Exchange, ExchangeKind, Queue, Topology,
    lanes::{End, Lane, lanes},
};
use crate::{
    duration,
    message::{Headers, Value},
};

impl Topology {
    /// A drawing in SVG: exchanges with their kinds, the queue of each group, what is bound to what by which key,
    /// where failed messages wait, and where dead letters end.
    ///
    /// It is light or dark as its reader asks for (`prefers-color-scheme`), and shows what is too long for its
    /// place as a tooltip.
    ///
    /// # Examples
    ///
    /// ```
    /// use es_bus::{
    ///     model::{Binding, Exchange, ExchangeKind, Queue, QueueKind, Topology},
    ///     name::{ExchangeName, QueueName},
    /// };
    ///
    /// let (orders, ledger) = (ExchangeName::new("orders")?, QueueName::new("orders.ledger")?);
    /// let mut topology = Topology::new();
    /// topology.add_exchange(Exchange::durable(orders.clone(), ExchangeKind::Topic)).unwrap();
    /// topology.add_queue(Queue::durable(ledger.clone(), QueueKind::Quorum)).unwrap();
    /// topology.add_binding(Binding::by_key(orders, ledger, "Order.*"));
    ///
    /// let drawing = topology.svg();
    /// assert!(drawing.starts_with("<svg ") && drawing.contains("orders.ledger"));
    /// # Ok::<(), es_bus::name::InvalidName>(())
    /// ```
    #[must_use]
    pub fn svg(&self) -> String {
        let lanes = lanes(self);
        let rails = rails(self, &lanes);
        let columns = Columns::of(&lanes, rails.len());
        let mut page = Page::default();
        let below = draw_heads(&mut page, self, &rails);
        let between = between(self, &rails);
        let bottom = draw_lanes(&mut page, &lanes, (&rails, &between), &columns, below + 26);
        let width = columns.right.max(page.right) + MARGIN;
        draw_legend(&mut page, bottom + 30);
        page.close(&summary(self, &lanes, &rails), &description(&lanes), width, bottom + 52)
    }
}

/// Around everything.
const MARGIN: i32 = 28;
/// Between two rails.
const RAIL: i32 = 22;
/// How high a key, or a delay, is.
const PILL: i32 = 22;
/// From one to the next below it.
const STEP: i32 = 28;
/// How many delays stand side by side.
const PER_ROW: usize = 5;
/// How many colours rails have.
const COLOURS: usize = 6;
/// The most characters in a line of a card, and in a key.
const CARD_CHARS: usize = 30;
const KEY_CHARS: usize = 34;
/// How much of a dead-letter exchange stands over its arrow.
const LABEL_CHARS: usize = 30;

/// An exchange that events are published to.
struct Rail<'a> {
    name: &'a str,
    /// As it is declared; `None` when somebody else does.
    exchange: Option<&'a Exchange>,
    /// Where it runs.
    x: i32,
    /// Where it begins.
    y: i32,
    colour: usize,
}

/// The exchanges that lead to a queue, or are there for whoever binds to them; those of retries and dead letters are
/// drawn in their lanes.
fn rails<'a>(topology: &'a Topology, lanes: &[Lane<'a>]) -> Vec<Rail<'a>> {
    let is_source = |name: &str| {
        lanes.iter().flat_map(|lane| &lane.bindings).any(|binding| binding.source.as_str() == name)
    };
    let is_inner = |name: &str| {
        let ends = |lane: &Lane<'_>| lane.end.as_ref().is_some_and(|end| end.exchange == name);
        topology.bindings().any(|binding| binding.source.as_str() == name) || lanes.iter().any(ends)
    };
    let declared =
        topology.exchanges().filter(|it| is_source(it.name.as_str()) || !is_inner(it.name.as_str()));
    let mut all: Vec<(&str, Option<&Exchange>)> = declared.map(|it| (it.name.as_str(), Some(it))).collect();
    for binding in lanes.iter().flat_map(|lane| &lane.bindings) {
        let name = binding.source.as_str();
        if topology.exchange(name).is_none() && !all.iter().any(|(there, _)| *there == name) {
            all.push((name, None));
        }
    }
    let placed = in_order(topology, all).into_iter().enumerate().map(|(at, (name, exchange))| {
        let (x, y) = (MARGIN + 14 + RAIL * to_i32(at), HEAD_TOP + HEAD_STEP * to_i32(at) + HEAD);
        Rail { name, exchange, x, y, colour: at % COLOURS }
    });
    placed.collect()
}

/// Those that give to others before those, as far as they do not lead round; else as they were.
fn in_order<'a>(
    topology: &Topology,
    mut left: Vec<(&'a str, Option<&'a Exchange>)>,
) -> Vec<(&'a str, Option<&'a Exchange>)> {
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits =
            |name: &str| sources(topology, name).any(|(_, source)| left.iter().any(|it| it.0 == source));
        let next = left.iter().position(|(name, _)| !waits(name)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// A line from the rail of an exchange to the card of one that gets messages from it.
struct Between<'a> {
    source: &'a Rail<'a>,
    destination: &'a Rail<'a>,
    /// What it gets, one after the other.
    gets: String,
    y: i32,
}

/// The lines between exchanges; one that leads back up is told in words alone.
fn between<'a>(topology: &Topology, rails: &'a [Rail<'a>]) -> Vec<Between<'a>> {
    let mut all: Vec<Between<'_>> = Vec::new();
    for destination in rails {
        let above = rails.iter().filter(|source| source.y < destination.y);
        let own = above.filter_map(|source| {
            let gets = sources(topology, destination.name).filter(|(_, of)| *of == source.name);
            let gets: Vec<String> = gets.map(|(key, _)| key).collect();
            (!gets.is_empty()).then(|| (source, gets.join(", ")))
        });
        let own: Vec<_> = own.collect();
        let (count, mut at) = (to_i32(own.len()), 1);
        for (source, gets) in own {
            all.push(Between {
                source,
                destination,
                gets,
                y: destination.y - HEAD + HEAD * at / (count + 1),
            });
            at += 1;
        }
    }
    all
}

/// Where the columns stand.
struct Columns {
    keys: i32,
    queue: i32,
    queue_width: i32,
    retry: i32,
    retry_width: i32,
    end: i32,
    end_width: i32,
    right: i32,
}

impl Columns {
    fn of(lanes: &[Lane<'_>], rails: usize) -> Self {
        let keys = lanes.iter().flat_map(|lane| &lane.bindings);
        let keys = keys.map(|it| columns_of(&shortened(&key_of(it), KEY_CHARS)));
        let keys_width = pill_width(keys.max().unwrap_or(0));
        let lines = |name: &str| fit(name, CARD_CHARS).iter().map(|line| columns_of(line)).max().unwrap_or(0);
        let card = |chars: usize| text_width(chars, NAME) + 36;
        let widest = |all: &mut dyn Iterator<Item = usize>| card(all.max().unwrap_or(0).max(18));
        let queue_width = widest(&mut lanes.iter().map(|lane| lines(&lane.queue.common_name())));
        let ends = || lanes.iter().filter_map(|lane| lane.end.as_ref());
        let end_width = widest(&mut ends().map(|end| lines(end_name(end))));
        let row = |lane: &Lane<'_>| chip_rows(lane).iter().map(|row| row_width(row)).max().unwrap_or(0);
        // The arrow over the panel has a label, which begins before it.
        let retry_width = (lanes.iter().map(row).max().unwrap_or(0) + 28).max(text_width(LABEL_CHARS, SMALL));
        let keys = MARGIN + 14 + RAIL * to_i32(rails) + 18;
        let queue = keys + keys_width + 40;
        let retry = queue + queue_width + 76;
        let end = retry + retry_width + 40;
        let has_ends = ends().next().is_some() || lanes.iter().any(|lane| lane.retry.is_some());
        let right = if has_ends { end + end_width } else { queue + queue_width };
        Self { keys, queue, queue_width, retry, retry_width, end, end_width, right: right + 14 }
    }
}

const HEAD: i32 = 44;
const HEAD_STEP: i32 = 58;
const HEAD_TOP: i32 = 84;

/// The cards of the exchanges, each further to the right than the one above, so that its rail runs past the others.
fn draw_heads(page: &mut Page, topology: &Topology, rails: &[Rail<'_>]) -> i32 {
    for rail in rails {
        let kind = rail.exchange.map_or("declared elsewhere", |exchange| exchange.kind.as_str());
        let mut about = kind.to_owned();
        if let Some(exchange) = rail.exchange {
            let flags = [
                (!exchange.durable, "transient"),
                (exchange.auto_delete, "auto-delete"),
                (exchange.internal, "internal"),
            ];
            flags.iter().filter(|(is, _)| *is).for_each(|(_, flag)| about = format!("{about} · {flag}"));
            if exchange.kind == ExchangeKind::ConsistentHash {
                let _ = write!(about, " · keys are weights, {} is hashed", exchange.hashed());
            }
            if let Some(alternate) = exchange.arguments.get_str("alternate-exchange") {
                let _ = write!(about, " · unroutable → {alternate}");
            }
        }
        for (key, source) in sources(topology, rail.name) {
            let _ = write!(about, " · gets {key} of {source}");
        }
        let (name, shown) = (shortened(rail.name, 48), shortened(&about, 60));
        let width = text_width(columns_of(&name), NAME).max(text_width(columns_of(&shown), SMALL)) + 36;
        let (x, y) = (rail.x - 14, rail.y - HEAD);
        let border = if rail.exchange.is_some() { "" } else { " ghost" };
        page.open(&format!("exchange {}: {about}", rail.name));
        page.rect(x, y, width, HEAD, 10, &format!("head h{}{border}", rail.colour));
        page.text(x + 16, y + 19, "name", &name);
        page.text(x + 16, y + 35, "small", &shown);
        page.shut();
        page.right = page.right.max(x + width);
    }
    rails.last().map_or(HEAD_TOP - 20, |rail| rail.y)
}

/// What an exchange gets from others, and from which.
fn sources<'a>(topology: &'a Topology, exchange: &'a str) -> impl Iterator<Item = (String, &'a str)> {
    let own = topology.exchange_bindings().filter(move |binding| binding.destination.as_str() == exchange);
    own.map(|it| (asked_for(&it.key, &it.arguments), it.source.as_str()))
}

/// Lane under lane; gives the bottom of the last.
fn draw_lanes(
    page: &mut Page,
    lanes: &[Lane<'_>],
    (rails, between): (&[Rail<'_>], &[Between<'_>]),
    columns: &Columns,
    top: i32,
) -> i32 {
    let left = columns.keys - 14;
    let mut tops = Vec::new();
    let mut bottom = top;
    for lane in lanes {
        tops.push(bottom);
        bottom += lane_height(lane) + 14;
    }
    for (lane, top) in lanes.iter().zip(&tops) {
        page.rect(left, *top, columns.right - left, lane_height(lane), 14, "lane");
    }
    // The rails first: what leaves one runs over the others.
    let at = |top: i32, lane: &Lane<'_>, index: usize| {
        let over = lane_height(lane) - STEP * to_i32(lane.bindings.len()) + STEP - PILL;
        top + over / 2 + STEP * to_i32(index)
    };
    for rail in rails {
        let taps = lanes.iter().zip(&tops).flat_map(|(lane, top)| {
            let own = lane.bindings.iter().enumerate().filter(|(_, it)| it.source.as_str() == rail.name);
            own.map(|(index, _)| at(*top, lane, index) + PILL / 2)
        });
        let onward = between.iter().filter(|it| it.source.name == rail.name).map(|it| it.y);
        if let Some(last) = taps.chain(onward).max() {
            page.path(&format!("M{} {}V{last}", rail.x, rail.y), &format!("rail r{}", rail.colour));
        }
    }
    between.iter().for_each(|it| draw_between(page, it));
    for (lane, top) in lanes.iter().zip(&tops) {
        for (index, binding) in lane.bindings.iter().enumerate() {
            let rail = rails.iter().find(|rail| rail.name == binding.source.as_str());
            draw_binding(page, (lane, binding), rail, columns, at(*top, lane, index));
        }
        draw_lane(page, lane, columns, *top);
    }
    if lanes.is_empty() {
        page.text(left + 14, top + 16, "small", "no queues: this program only publishes");
        page.right = page.right.max(left + 14 + text_width(42, SMALL));
        bottom += 30;
    }
    bottom - 14
}

fn draw_between(page: &mut Page, Between { source, destination, gets, y }: &Between<'_>) {
    let (from, to) = (source.x, destination.x - 14);
    page.open(&format!("exchange {} gets {gets} of {}", destination.name, source.name));
    // Over the rails that it crosses, and not into the card.
    page.path(&format!("M{from} {y}H{}", to - 4), "halo");
    page.path(&format!("M{from} {y}H{to}"), &format!("tap r{}", source.colour));
    page.dot(source.x, *y, &format!("d{}", source.colour));
    page.shut();
}

fn draw_binding(
    page: &mut Page,
    (lane, binding): (&Lane<'_>, &Binding),
    rail: Option<&Rail<'_>>,
    columns: &Columns,
    y: i32,
) {
    let (key, middle) = (key_of(binding), y + PILL / 2);
    let shown = shortened(&key, KEY_CHARS);
    let width = pill_width(columns_of(&shown));
    page.open(&format!("{} gets {key} of {}", lane.queue.common_name(), binding.source));
    let colour = rail.map_or(0, |rail| rail.colour);
    if let Some(rail) = rail {
        let run = format!("M{} {middle}H{}", rail.x, columns.keys);
        page.path(&format!("M{} {middle}H{}", rail.x, columns.keys - 14), "halo");
        page.path(&run, &format!("tap r{colour}"));
        page.dot(rail.x, middle, &format!("d{colour}"));
    }
    page.rect(columns.keys, y, width, PILL, PILL / 2, &format!("pill h{colour}"));
    page.text(columns.keys + 12, y + 15, "key", &shown);
    page.arrow(&format!("M{} {middle}H{}", columns.keys + width, columns.queue - 3), "edge");
    page.shut();
}

/// How high the queue of a lane is drawn, and the panel of what waits, if there is one.
fn heights(lane: &Lane<'_>) -> (i32, Option<i32>) {
    let panel = lane.retry.map(|_| 30 + STEP * to_i32(chip_rows(lane).len()) + 4);
    let keys = STEP * to_i32(lane.bindings.len());
    let name = |queue: &Queue| {
        16 * to_i32(fit(&queue.common_name(), CARD_CHARS).len()) + 16 * to_i32(facts(queue).len())
    };
    let card = (name(lane.queue) + 24).max(64).max(keys);
    (panel.map_or(card, |panel| card.max(panel + 34)), panel)
}

fn lane_height(lane: &Lane<'_>) -> i32 {
    let (card, panel) = heights(lane);
    let end = lane.end.as_ref().map_or(0, |end| end_height(end) + 28);
    (card + if panel.is_some() { 52 } else { 28 }).max(end)
}

fn draw_lane(page: &mut Page, lane: &Lane<'_>, columns: &Columns, top: i32) {
    let (card, panel) = heights(lane);
    let (y, right) = (top + 14, columns.queue + columns.queue_width);
    draw_queue(page, lane.queue, columns.queue, y, (columns.queue_width, card), "queue");
    if let (Some(height), Some(retry)) = (panel, lane.retry) {
        let panel_top = y + card - height;
        draw_waits(page, lane, retry, columns, (panel_top, height));
        let middle = panel_top + height / 2;
        page.open(&format!("what failed goes from {} to {}", lane.queue.name, retry.name));
        page.arrow(&format!("M{right} {middle}H{}", columns.retry - 3), "edge");
        page.text(right + 12, middle - 6, "small", "failed");
        page.shut();
        let (low, from) = (y + card + 18, columns.retry + columns.retry_width / 2);
        let to = columns.queue + columns.queue_width / 2;
        page.open(&format!(
            "after its delay it comes back to {} alone, by {}.in",
            lane.queue.name, lane.queue.name
        ));
        let (below, turn) = (y + card, low - 8);
        page.arrow(&format!("M{from} {below}V{turn}q0 8 -8 8H{}q-8 0 -8 -8V{}", to + 8, below + 3), "dash");
        page.text(right + 12, low - 5, "small", "back, by .in");
        page.shut();
    }
    match &lane.end {
        Some(end) => draw_end(page, lane, end, columns, y),
        None if lane.retry.is_some() => {
            page.text(columns.end, y + 20, "small", "given up: dropped");
        }
        None => {}
    }
}

/// The dashed arrow over the panel, and the queue at its end.
fn draw_end(page: &mut Page, lane: &Lane<'_>, end: &End<'_>, columns: &Columns, y: i32) {
    let (from, line) = (columns.queue + columns.queue_width, y + 18);
    let exchange = named(end.exchange);
    let key = end.key.map_or_else(|| "their own key".to_owned(), |key| format!("the key {key}"));
    page.open(&format!("dead letters of {} go to {exchange} with {key}", lane.queue.name));
    page.arrow(&format!("M{from} {line}H{}", columns.end - 3), "dead");
    page.text(
        from + 12,
        line - 5,
        "small",
        &shortened(&format!("given up, by {}", named(end.exchange)), LABEL_CHARS),
    );
    page.shut();
    let size = (columns.end_width, end_height(end));
    match end.queue {
        Some(queue) => draw_queue(page, queue, columns.end, y, size, "end"),
        None => {
            page.open(&format!(
                "exchange {}: no queue of this topology takes these dead letters",
                end.exchange
            ));
            page.rect(columns.end, y, size.0, size.1, 10, "card ghost");
            let below = draw_name(page, end_name(end), columns.end + 18, y + 21);
            page.text(columns.end + 18, below, "small", "leads elsewhere");
            page.shut();
        }
    }
}

fn end_name<'a>(end: &End<'a>) -> &'a str {
    let name = end.queue.map_or(end.exchange, |queue| queue.name.as_str());
    named(name)
}

/// An exchange by its name, also the one that has none.
fn named(exchange: &str) -> &str {
    if exchange.is_empty() { "amq.default" } else { exchange }
}

fn end_height(end: &End<'_>) -> i32 {
    let facts = end.queue.map_or(1, |queue| facts(queue).len());
    16 * to_i32(fit(end_name(end), CARD_CHARS).len()) + 16 * to_i32(facts) + 20
}

fn draw_queue(page: &mut Page, queue: &Queue, x: i32, y: i32, (width, height): (i32, i32), class: &str) {
    page.open(&format!("queue {}: {}", queue.common_name(), facts(queue).join(", ")));
    page.rect(x, y, width, height, 10, "card");
    page.rect(x + 7, y + 10, 4, height - 20, 2, &format!("bar {class}"));
    let mut below = draw_name(page, &queue.common_name(), x + 20, y + 21);
    for fact in facts(queue) {
        page.text(x + 20, below, "small", &shortened(&fact, CARD_CHARS));
        below += 16;
    }
    page.shut();
}

/// A name in as many lines as it takes; gives the line below.
fn draw_name(page: &mut Page, name: &str, x: i32, mut y: i32) -> i32 {
    for line in fit(name, CARD_CHARS) {
        page.text(x, y, "name", &line);
        y += 16;
    }
    y
}

/// Where failed messages wait.
fn draw_waits(
    page: &mut Page,
    lane: &Lane<'_>,
    retry: &Exchange,
    columns: &Columns,
    (y, height): (i32, i32),
) {
    page.open(&format!("exchange {}: {}", retry.name, retry.kind.as_str()));
    page.rect(columns.retry, y, columns.retry_width, height, 10, "panel");
    page.text(columns.retry + 14, y + 19, "name", ".retry");
    page.text(columns.retry + 14 + text_width(8, NAME), y + 19, "small", "waits for");
    page.shut();
    let mut below = y + 30;
    for row in chip_rows(lane) {
        let mut x = columns.retry + 14;
        for chip in row {
            page.open(&format!("queue {}: {}", chip.queue.name, facts(chip.queue).join(", ")));
            page.rect(x, below, pill_width(columns_of(&chip.text)), PILL, PILL / 2, "chip");
            page.text(x + 12, below + 15, "key", &chip.text);
            page.shut();
            x += pill_width(columns_of(&chip.text)) + 6;
        }
        below += STEP;
    }
}

struct Chip<'a> {
    text: String,
    queue: &'a Queue,
}

/// The delays side by side, then what is suspected.
fn chip_rows<'a>(lane: &Lane<'a>) -> Vec<Vec<Chip<'a>>> {
    let chips: Vec<Chip<'_>> =
        lane.waits.iter().map(|(delay, queue)| Chip { text: shortened(delay, 20), queue }).collect();
    let mut rows: Vec<Vec<Chip<'_>>> = Vec::new();
    for chip in chips {
        match rows.last_mut() {
            Some(row) if row.len() < PER_ROW => row.push(chip),
            _ => rows.push(vec![chip]),
        }
    }
    if let Some(queue) = lane.suspects {
        rows.push(vec![Chip { text: "suspects, one at a time".to_owned(), queue }]);
    }
    rows
}

fn row_width(row: &[Chip<'_>]) -> i32 {
    row.iter().map(|chip| pill_width(columns_of(&chip.text)) + 6).sum::<i32>() - 6
}

/// What is worth knowing of a queue, a line each.
fn facts(queue: &Queue) -> Vec<String> {
    let mut kind = queue.kind.as_str().to_owned();
    let flags = [
        (queue.exclusive, "exclusive"),
        (!queue.durable && !queue.exclusive, "transient"),
        (queue.auto_delete, "auto-delete"),
        (queue.single_active_consumer, "one consumer"),
    ];
    flags.iter().filter(|(is, _)| *is).for_each(|(_, flag)| kind = format!("{kind} · {flag}"));
    let mut facts = vec![kind];
    let limit = |what: &str, value: Option<u64>| value.map(|value| format!("{what} {value}"));
    let limits = [
        queue.message_ttl.map(|ttl| format!("ttl {}", duration::print(ttl))),
        queue.expires.map(|expires| format!("expires {}", duration::print(expires))),
        limit("at most", queue.max_length),
        limit("bytes", queue.max_length_bytes),
        limit("priorities", queue.max_priority.map(u64::from)),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    facts.extend(limits.chunks(2).map(|pair| pair.join(" · ")));
    facts
}

/// What a binding goes by.
fn key_of(binding: &Binding) -> String {
    asked_for(&binding.key, &binding.arguments)
}

fn asked_for(key: &str, table: &Headers) -> String {
    match (key, table.is_empty()) {
        ("", true) => "everything".to_owned(),
        ("", false) => arguments(table),
        (key, _) => key.to_owned(),
    }
}

fn arguments(arguments: &Headers) -> String {
    let value = |value: &Value| match (value.as_str(), value.as_int()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => "…".to_owned(),
    };
    let all = arguments.iter().filter(|(name, _)| *name != "x-match");
    let all: Vec<String> = all.map(|(name, it)| format!("{name}={}", value(it))).collect();
    let or = arguments.get_str("x-match").is_some_and(|mode| mode.starts_with("any"));
    all.join(if or { " or " } else { ", " })
}

fn summary(topology: &Topology, lanes: &[Lane<'_>], rails: &[Rail<'_>]) -> String {
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let bindings: usize = lanes.iter().map(|lane| lane.bindings.len()).sum();
    [
        count(rails.len(), "exchange"),
        count(lanes.len(), "work queue"),
        count(bindings, "binding"),
        format!("{} in all", count(topology.queues().count(), "queue")),
    ]
    .join(" · ")
}

/// The drawing in words.
fn description(lanes: &[Lane<'_>]) -> String {
    let told = lanes.iter().map(|lane| {
        let mut text = format!("Queue {}", lane.queue.common_name());
        let keys: Vec<String> =
            lane.bindings.iter().map(|it| format!("{} of exchange {}", key_of(it), it.source)).collect();
        text += &if keys.is_empty() {
            " has no bindings".to_owned()
        } else {
            format!(" gets {}", keys.join(", "))
        };
        let delays: Vec<&str> = lane.waits.iter().map(|(delay, _)| *delay).collect();
        if !delays.is_empty() {
            let _ = write!(text, "; retries after {}", delays.join(", "));
        }
        if let Some(end) = &lane.end {
            let _ = write!(text, "; dead letters go to {}", end_name(end));
        }
        text + "."
    });
    told.collect::<Vec<_>>().join(" ")
}

fn draw_legend(page: &mut Page, y: i32) {
    let mut x = MARGIN;
    let entries =
        [("edge", "delivered"), ("dash", "comes back after its delay"), ("dead", "given up, or rejected")];
    for (class, text) in entries {
        page.path(&format!("M{x} {}h26", y - 4), class);
        page.text(x + 34, y, "small", text);
        x += 34 + text_width(text.len(), SMALL) + 22;
    }
    page.text(x, y, "small", "a name that begins with a dot follows that of its queue");
    page.right = page.right.max(x + text_width(56, SMALL));
}

#[cfg(test)]
mod tests {
    use super::{measure::KEY, *};
    use crate::{
        event::EventKind,
        message::Headers,
        model::{ExchangeBinding, ExchangeKind, QueueKind},
        name::{ExchangeName, QueueName},
        topology::{
            build,
            fixtures::{PLACED, SHIPPED, exchanges, handler, named_with},
        },
    };

    /// Of so many groups, with names and keys of all lengths.
    fn program(groups: usize) -> Topology {
        const KEYS: [&[&str]; 4] = [
            &["Order.*"],
            &["#"],
            &[
                "Order.OrderPlaced",
                "*.OrderShipped",
                "Warehouse.StockOfAnArticleWasFoundToBeLowerThanItShould",
            ],
            &["Order.OrderPlaced", "Order.OrderShipped"],
        ];
        let group = |at: usize| {
            let name = match at % 4 {
                0 => format!("projections-{at}"),
                1 => format!("a{at}"),
                2 => format!("{}-{at}", "customer-relationship-and-marketing-automation"),
                _ => format!("x{at}{}", "unbroken".repeat(8)),
            };
            named_with(&name, vec![handler("h", KEYS[at % 4], None)], |settings| {
                settings.home = ExchangeName::new(
                    ["events", "billing", "a.far.too.long.name.of.an.exchange.of.others"][at % 3],
                )
                .unwrap();
                settings.max_length = at.is_multiple_of(5).then_some(100_000);
                settings.crash_limit = (!at.is_multiple_of(3)).then_some(3);
            })
        };
        let groups: Vec<_> = (0..groups).map(group).collect();
        let published = [PLACED, SHIPPED, EventKind::new("Odd", "Odd", "Odd.Odd").exchange("nobody")];
        let mut topology = build(&groups, &published, &exchanges()).unwrap();
        for (at, group) in groups.iter().enumerate().step_by(3) {
            let source = ExchangeName::new(["others", "billing"][at % 2]).unwrap();
            topology.add_binding(Binding::by_key(source, group.queue.clone(), ""));
        }
        topology
    }

    /// A rectangle or the extent of a text, with the class that it is drawn by.
    #[derive(Debug)]
    struct Area {
        class: String,
        x: (i32, i32),
        y: (i32, i32),
    }

    impl Area {
        fn holds(&self, other: &Self) -> bool {
            self.x.0 <= other.x.0 && other.x.1 <= self.x.1 && self.y.0 <= other.y.0 && other.y.1 <= self.y.1
        }

        fn is_apart_from(&self, other: &Self) -> bool {
            self.x.1 <= other.x.0 || other.x.1 <= self.x.0 || self.y.1 <= other.y.0 || other.y.1 <= self.y.0
        }
    }

    fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
        let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name} of {line}"));
        rest.split_once('"').unwrap().0
    }

    fn areas(drawing: &str) -> (Vec<Area>, Vec<Area>) {
        let number = |line: &str, name: &str| attribute(line, name).parse::<i32>().unwrap();
        let class = |line: &str| attribute(line, "class").split(' ').next().unwrap().to_owned();
        let boxes = drawing.lines().filter(|line| line.starts_with("<rect class") && line.contains(" x="));
        let boxes = boxes.map(|line| {
            let (x, y) = (number(line, "x"), number(line, "y"));
            let (x, y) = ((x, x + number(line, "width")), (y, y + number(line, "height")));
            Area { class: class(line), x, y }
        });
        let texts = drawing.lines().filter(|line| line.starts_with("<text"));
        let texts = texts.map(|line| {
            let (class, x, y) = (class(line), number(line, "x"), number(line, "y"));
            let size = match &*class {
                "name" => NAME,
                "key" => KEY,
                "small" => SMALL,
                _ => 20,
            };
            let text = line.split_once('>').unwrap().1.trim_end_matches("</text>");
            Area { class, x: (x, x + text_width(columns_of(text), size)), y: (y - size, y + 3) }
        });
        (boxes.collect(), texts.collect())
    }

    #[test]
    fn nothing_overlaps_and_no_text_is_cut_whatever_its_size() {
        for groups in [0, 1, 2, 3, 4, 7, 12, 20, 40] {
            let drawing = program(groups).svg();

            let (boxes, texts) = areas(&drawing);
            let (width, height) = (attribute(&drawing, "width"), attribute(&drawing, "height"));
            let page = (width.parse::<i32>().unwrap(), height.parse::<i32>().unwrap());
            let page = Area { class: "page".to_owned(), x: (0, page.0), y: (0, page.1) };
            for (at, one) in boxes.iter().enumerate() {
                assert!(page.holds(one), "{groups}: {one:?} leaves the page");
                for other in &boxes[..at] {
                    let fits = one.is_apart_from(other) || one.holds(other) || other.holds(one);
                    assert!(fits, "{groups}: {one:?} {other:?}");
                }
            }
            for (at, text) in texts.iter().enumerate() {
                assert!(page.holds(text), "{groups}: {text:?} leaves the page");
                for other in &texts[..at] {
                    assert!(text.is_apart_from(other), "{groups}: {text:?} {other:?}");
                }
                // What stands in a box stands in it whole.
                for other in boxes.iter().filter(|other| !other.is_apart_from(text)) {
                    assert!(other.holds(text), "{groups}: {text:?} is cut by {other:?}");
                }
            }
            let cards = boxes.iter().filter(|area| area.class == "lane").count();
            assert_eq!(cards, groups);
        }
    }

    #[test]
    fn the_queue_of_one_process_is_drawn_as_that_of_any() {
        let drawing = |process: &str| {
            let group = named_with("caches", vec![handler("h", &["#"], None)], |settings| {
                settings.exclusive = Some(process.to_owned());
            });
            build(&[group], &[], &exchanges()).unwrap().svg()
        };

        assert_eq!(drawing("0123abcd"), drawing("deadbeef"));
        assert!(drawing("0123abcd").contains("events.caches.*"));
    }

    #[test]
    fn says_all_in_words_and_escapes_what_is_written_by_others() {
        let (shop, queue) = (ExchangeName::new("shop").unwrap(), QueueName::new("shop.<ledger>").unwrap());
        let mut topology = Topology::new();
        topology.add_queue(Queue::durable(queue.clone(), QueueKind::Classic)).unwrap();
        topology.add_binding(Binding::by_key(shop.clone(), queue.clone(), "a & \"b\""));
        let arguments = Headers::from_iter([("x-match", "any"), ("region", "eu"), ("tier", "gold")]);
        topology.add_binding(Binding { source: shop, queue, key: String::new(), arguments });

        let drawing = topology.svg();

        assert!(
            drawing.contains(
                "<desc id=\"es-desc\">Queue shop.&lt;ledger&gt; gets a &amp; &quot;b&quot; of exchange shop, \
                 region=eu or tier=gold of exchange shop.</desc>"
            ),
            "{drawing}"
        );
        assert!(drawing.contains("<title>exchange shop: declared elsewhere</title>"));
        assert!(!drawing.contains("<ledger>") && !drawing.contains("a & "));
    }

    #[test]
    fn exchanges_that_get_from_others_hang_on_their_rails() {
        let name = |name: &str| ExchangeName::new(name).unwrap();
        let mut topology = program(2);
        // By name the first, and drawn below those that give to it.
        for exchange in ["audit", "news", "vault"] {
            topology.add_exchange(Exchange::durable(name(exchange), ExchangeKind::Topic)).unwrap();
        }
        for (source, destination, key) in [
            ("events", "audit", "Order.#"),
            ("news", "audit", "#"),
            ("audit", "vault", "#"),
            ("vault", "news", "#"),
        ] {
            topology.add_exchange_binding(ExchangeBinding::by_key(name(source), name(destination), key));
        }
        let vault = QueueName::new("vault.keepers").unwrap();
        topology.add_queue(Queue::durable(vault.clone(), QueueKind::Quorum)).unwrap();
        topology.add_binding(Binding::by_key(name("vault"), vault, "#"));

        let lanes = lanes(&topology);
        let rails = rails(&topology, &lanes);
        let lines: Vec<_> = between(&topology, &rails)
            .iter()
            .map(|it| (it.source.name, it.destination.name, it.gets.clone()))
            .collect();

        let order: Vec<&str> = rails.iter().map(|rail| rail.name).collect();
        assert!(
            order.iter().position(|it| *it == "events") < order.iter().position(|it| *it == "audit"),
            "{order:?}"
        );
        assert!(lines.contains(&("events", "audit", "Order.#".to_owned())), "{lines:?}");
        assert!(lines.contains(&("audit", "vault", "#".to_owned())), "{lines:?}");
        // They lead round: one of them goes up, and is told in words.
        assert_eq!(lines.len(), 3, "{lines:?}");
        let drawing = topology.svg();
        assert!(drawing.contains("<title>exchange audit gets Order.# of events</title>"));
        assert!(drawing.contains("gets # of vault"));
    }
}
