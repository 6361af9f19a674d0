//! The file `.env`: lines of `NAME=value` to variables.
//!
//! Only what es-bus reads is taken from it; what is somebody else's may look as it likes.

use super::error::Finding;

/// Reads the variables whose names begin as ours or the seeds' do; what is wrong with their lines goes
/// to `findings`, without a word of what stands there: it may be a secret.
pub(super) fn read(path: &str, text: &str, findings: &mut Vec<Finding>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    // Some editors begin a file with a mark of its byte order.
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = without_export(line.trim_start());
        if line.starts_with('#') {
            continue;
        }
        let (name, rest) = match line.split_once('=') {
            Some((name, rest)) => (name.trim_end(), rest.trim_start()),
            None => (line.trim_end(), ""),
        };
        if !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            // A quoted value of somebody else may go over several lines. A quote that nothing ends is
            // an apostrophe, and must not take what is ours with it.
            let mut ahead = lines.clone();
            if open_quote(rest).is_some_and(|quote| ahead.any(|(_, line)| line.contains(quote))) {
                lines = ahead;
            }
            continue;
        }
        // With another character in it, it is more than a name, and may be a secret.
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let value = if line.contains('=') && is_name { value(rest) } else { Err("is no NAME=value") };
        match value {
            Ok(value) => variables.push((name.to_owned(), value)),
            Err(problem) => findings.push(Finding::new(format!("{path}:{}", number + 1), problem)),
        }
    }
    variables
}

/// What follows the word of a shell, where the line begins with it.
fn without_export(line: &str) -> &str {
    line.strip_prefix("export")
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .unwrap_or(line)
        .trim_start()
}

/// The quote that begins the value, where its line does not end it.
fn open_quote(rest: &str) -> Option<char> {
    let quote = rest.chars().next().filter(|c| QUOTES.contains(c))?;
    (!rest[1..].contains(quote)).then_some(quote)
}

fn value(rest: &str) -> Result<String, &'static str> {
    let Some(quote) = rest.chars().next().filter(|c| QUOTES.contains(c)) else {
        // A comment begins after a blank: a URL may hold a `#`.
        let value = rest.find(" #").map_or(rest, |at| &rest[..at]).trim_end();
        return match value {
            value if value.starts_with('#') => Ok(String::new()),
            value if value.contains("${") => Err(VARIABLE),
            value => Ok(value.to_owned()),
        };
    };
    let (value, after) = rest[1..].split_once(quote).ok_or("has a quote that its line does not end")?;
    let after = after.trim_start();
    if !(after.is_empty() || after.starts_with('#')) {
        return Err("has something after its closing quote");
    }
    if quote == '"' && value.contains("${") {
        return Err(VARIABLE);
    }
    if quote == '"' && value.contains('\\') {
        return Err("has a backslash in double quotes, write single quotes, in which it stands for itself");
    }
    Ok(value.to_owned())
}

const QUOTES: [char; 2] = ['"', '\''];
const PREFIXES: [&str; 2] = ["ES_BUS_", "RABBITMQ_"];
const VARIABLE: &str = "names another variable (${..}), which is not read here, write the value";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_ours_and_passes_over_the_rest() {
        let text = "\
# comment
export ES_BUS_URL=amqp://app:p#w@host/shop   # trailing
export\tES_BUS_HEARTBEAT=5s
RABBITMQ_PREFETCH = 10
ES_BUS_EXCHANGE='my.events' # quoted
ES_BUS_CONSUMER_NAME=\"a # b\"
DATABASE_URL=postgres://${USER}@host
CERTIFICATE=\"-----BEGIN
ES_BUS_PREFETCH=1
-----END\"
whatever this is
ES_BUS_GROUPS=
";
        let mut findings = Vec::new();

        let variables = read(".env", text, &mut findings);

        assert_eq!(findings, []);
        let expected = [
            ("ES_BUS_URL", "amqp://app:p#w@host/shop"),
            ("ES_BUS_HEARTBEAT", "5s"),
            ("RABBITMQ_PREFETCH", "10"),
            ("ES_BUS_EXCHANGE", "my.events"),
            ("ES_BUS_CONSUMER_NAME", "a # b"),
            ("ES_BUS_GROUPS", ""),
        ];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn an_apostrophe_of_somebody_else_takes_nothing_of_ours_with_it() {
        let mut findings = Vec::new();

        let variables = read(".env", "GREETING='tis\nES_BUS_PREFETCH=1\n", &mut findings);

        assert_eq!(findings, []);
        assert_eq!(variables, [("ES_BUS_PREFETCH".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_mark_of_the_byte_order_is_no_part_of_a_name() {
        let variables = read(".env", "\u{feff}ES_BUS_PREFETCH=1", &mut Vec::new());

        assert_eq!(variables, [("ES_BUS_PREFETCH".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_line_that_is_more_than_a_name_before_its_sign_is_not_shown() {
        let mut findings = Vec::new();

        let text = "ES_BUS_URL: amqp://app:hunter2@host?heartbeat=5\nES_BUS_URL amqp://app:hunter2@host?a=5";
        let variables = read(".env", text, &mut findings);

        assert_eq!(variables, []);
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, [".env:1: is no NAME=value", ".env:2: is no NAME=value"]);
    }

    #[test]
    fn names_the_line_of_a_mistake_and_nothing_of_its_text() {
        let text = "ES_BUS_URL=\"amqp://app:hunter2@host\nRABBITMQ_URL='amqp://app:hunter2@host'x\nES_BUS_URL\nES_BUS_EXCHANGE=${hunter2}\nES_BUS_URL=\"hunter2\\n\"";
        let mut findings = Vec::new();

        let variables = read(".env", text, &mut findings);

        assert_eq!(variables, []);
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(!findings.join("").contains("hunter2"), "{findings:?}");
        insta::assert_snapshot!(findings.join("\n"));
    }
}
