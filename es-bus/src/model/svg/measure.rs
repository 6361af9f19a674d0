//! How much room a text takes, and what becomes of one that takes too much.

/// How large a name is written, in pixels.
pub(super) const NAME: i32 = 13;
/// How large what is told of it is written.
pub(super) const SMALL: i32 = 11;
/// How large a key is written.
pub(super) const KEY: i32 = 12;

/// How wide so many columns are. In the fonts that are asked for, a character is six tenths of its size wide, or less.
pub(super) fn text_width(columns: usize, size: i32) -> i32 {
    (to_i32(columns) * size * 61 + 99) / 100
}

/// How wide a key or a delay is with what is around it.
pub(super) fn pill_width(columns: usize) -> i32 {
    text_width(columns, KEY) + 24
}

/// How many columns a text takes: letters of East Asia and pictures take two.
pub(super) fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

fn columns_of_char(c: char) -> usize {
    if c >= '\u{1100}' && !matches!(c, '\u{2000}'..='\u{20ff}' | '\u{2190}'..='\u{21ff}') { 2 } else { 1 }
}

/// A text in one line: what is too long loses its middle, as names of siblings differ at their ends.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if columns_of(text) <= most {
        return text.to_owned();
    }
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let taken = chars.take_while(|c| {
            used += columns_of_char(*c);
            used <= room
        });
        taken.collect::<Vec<char>>()
    };
    let (head, tail) = ((most - 1) / 2, most - 1 - (most - 1) / 2);
    let start: String = take(&mut text.chars(), head).into_iter().collect();
    let end: String = take(&mut text.chars().rev(), tail).into_iter().rev().collect();
    format!("{start}…{end}")
}

/// A name in two lines at most, broken where its parts meet.
pub(super) fn fit(name: &str, most: usize) -> Vec<String> {
    if columns_of(name) <= most {
        return vec![name.to_owned()];
    }
    let joints = name.char_indices().filter(|(_, c)| matches!(c, '.' | '-' | '_' | ':' | '/'));
    let mut breaks = joints.map(|(at, _)| at).filter(|at| *at > 0 && columns_of(&name[..*at]) <= most);
    match breaks.next_back() {
        Some(at) => vec![name[..at].to_owned(), shortened(&name[at..], most)],
        None => vec![shortened(name, most)],
    }
}

/// The counts of what is drawn are far below what an `i32` holds.
pub(super) fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_loses_its_middle_or_goes_on_in_a_second_line() {
        for (name, expected) in [
            ("events.orders", vec!["events.orders"]),
            ("events.orders.in.the.far.north.of.it", vec!["events.orders.in.the.far.north", ".of.it"]),
            ("eventsordersinthefarnorthofitallandmore", vec!["eventsordersin…hofitallandmore"]),
            ("注文.注文注文注文注文注文注文注文", vec!["注文", ".注文注文注文注文注文注文注文"]),
        ] {
            assert_eq!(fit(name, 30), expected, "{name}");
            assert!(fit(name, 30).iter().all(|line| columns_of(line) <= 30), "{name}");
        }
    }
}
