//! What commands print: aligned tables, one-line texts, colours where they are wanted.

use std::fmt::Write;

use time::{OffsetDateTime, macros::format_description};

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Whether they are.
    pub(super) colours: bool,
}

impl Style {
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A table of texts, aligned by their widths.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, of as many cells as the head has.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| line(&cell)).into());
    }

    /// The text; ends with a line break.
    pub(super) fn render(&self, style: Style) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.chain([self.head[at].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let aligned = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for (cell, width) in cells.zip(&widths) {
                let _ = write!(text, "{cell:width$}  ");
            }
            text.trim_end().to_owned()
        };
        let mut text = style.bold(&aligned(&mut self.head.iter().copied())) + "\n";
        for row in &self.rows {
            text += &aligned(&mut row.iter().map(String::as_str));
            text.push('\n');
        }
        text
    }
}

/// A text of anybody's as one line: what would move the cursor or colour the terminal is shown as a blank.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text of anybody's with its line breaks.
pub(super) fn lines(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

/// The beginning of a text, as one line of so many characters at most.
pub(super) fn short(text: &str, most: usize) -> String {
    let text = line(text);
    if text.chars().count() <= most {
        return text;
    }
    let mut text: String = text.chars().take(most.saturating_sub(1)).collect();
    text.push('…');
    text
}

/// A text without what stands before the host of a URL in it: a password, most likely.
pub(super) fn masked(text: &str) -> String {
    let (mut rest, mut all) = (text, String::new());
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        all += before;
        let end =
            after.find(|c: char| c.is_whitespace() || c.is_control() || c == '\'').unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(host) => {
                all += "***";
                &after[host..]
            }
            None => after,
        };
    }
    all + rest
}

/// `1 event`, `2 events`.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A time to the second: `2026-01-02 03:04:05`, in UTC.
pub(super) fn moment(time: OffsetDateTime) -> String {
    const FORMAT: &[time::format_description::FormatItem<'_>] =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.to_offset(time::UtcOffset::UTC).format(FORMAT).unwrap_or_default()
}

/// A time of a message, written in RFC 3339, to the second; as it is when it is no such time.
pub(super) fn moment_of(text: &str) -> String {
    let read = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    read.map_or_else(|_| short(text, 25), moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let mut table = Table::new(&["GROUP", "N"]);
        table.row(["projections".to_owned(), "1".to_owned()]);
        table.row(["ä".to_owned(), "12".to_owned()]);

        assert_eq!(table.render(Style::default()), "GROUP        N\nprojections  1\nä            12\n");
        assert!(table.render(Style { colours: true }).starts_with("\u{1b}[1mGROUP        N\u{1b}[0m\n"));
    }

    #[test]
    fn what_a_message_holds_cannot_write_to_the_terminal() {
        let text = "red\u{1b}[31m\r\nnext\ttab\u{9b}";

        assert_eq!(line(text), "red [31m  next tab ");
        assert_eq!(lines(text), "red [31m \nnext\ttab ");
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("abcd", 4), "abcd");
    }

    #[test]
    fn what_was_typed_is_shown_without_its_password() {
        let text =
            "unrecognized subcommand 'amqp://orders:se@cret@rabbit:5672/shop'\nsee https://docs.rs a@b";

        assert_eq!(
            masked(text),
            "unrecognized subcommand 'amqp://***@rabbit:5672/shop'\nsee https://docs.rs a@b"
        );
    }

    #[test]
    fn times_are_in_utc_and_to_the_second() {
        assert_eq!(moment_of("2026-01-02T03:04:05.678901+02:00"), "2026-01-02 01:04:05");
        assert_eq!(moment_of("yesterday"), "yesterday");
    }
}
