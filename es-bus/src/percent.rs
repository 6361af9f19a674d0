//! Percent-encoding: a text as a part of a URL, and back.

/// The text with all that a URL reserves, and all that is not ASCII, in percent signs.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Undoes it, strictly: `None` where a percent sign has not two digits after it, or what comes out is no text.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let value = digit()? * 16 + digit()?;
        decoded.push(u8::try_from(value).expect("two hexadecimal digits fit a byte"));
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_reads_back_and_what_is_cut_does_not() {
        for (text, encoded) in
            [("shop", "shop"), ("a/b@c:d", "a%2Fb%40c%3Ad"), ("é~.-_ %", "%C3%A9~.-_%20%25"), ("", "")]
        {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded).as_deref(), Some(text));
        }
        for broken in ["%", "%4", "%4g", "%ff"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }
}
