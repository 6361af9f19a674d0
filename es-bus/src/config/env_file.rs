//! The file `.env`: lines of `NAME=value` to variables.
//!
//! Only what es-bus reads is taken from it; what is somebody else's may look as it likes.

use super::error::Finding;

/// Reads the variables whose names begin as ours or the seeds' do; what is wrong with their lines goes
/// to `findings`, without a word of what stands there: it may be a secret.
pub(super) fn read(path: &str, text: &str, findings: &mut Vec<Finding>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.starts_with('#') {
            continue;
        }
        let (name, rest) = match line.split_once('=') {
            Some((name, rest)) => (name.trim_end(), rest.trim_start()),
            None => (line.trim_end(), ""),
        };
        if !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            // A quoted value of somebody else may go over several lines.
            if let Some(quote) = open_quote(rest) {
                let _ = lines.by_ref().find(|(_, line)| line.contains(quote));
            }
            continue;
        }
        let value = if line.contains('=') { value(rest) } else { Err("is no NAME=value") };
        match value {
            Ok(value) => variables.push((name.to_owned(), value)),
            Err(problem) => findings.push(Finding::new(format!("{path}:{}", number + 1), problem)),
        }
    }
    variables
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
            ("RABBITMQ_PREFETCH", "10"),
            ("ES_BUS_EXCHANGE", "my.events"),
            ("ES_BUS_CONSUMER_NAME", "a # b"),
            ("ES_BUS_GROUPS", ""),
        ];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
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
