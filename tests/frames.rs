//! The frames of AMQP 0-9-1, as far as somebody needs them who sits between client and broker: where
//! one ends, and which method it is.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// One frame as it is on the wire; the protocol header, with which a client begins, counts as one.
#[derive(Debug, Clone)]
pub struct Frame(Vec<u8>);

/// The methods that tests look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `connection.start-ok`, in which a client gives its name.
    StartOk,
    /// `basic.consume`.
    Consume,
    /// `basic.cancel`, of either side.
    Cancel,
    /// `basic.publish`.
    Publish,
    /// `basic.deliver`.
    Deliver,
    /// `basic.return`.
    Return,
    /// `basic.ack`: an acknowledgement to the broker, a confirm to the client.
    Ack,
    /// `basic.nack`, of either side.
    Nack,
    /// `basic.reject`.
    Reject,
    /// `channel.close`.
    ChannelClose,
    /// `connection.close`.
    ConnectionClose,
    /// Class and method of any other.
    Other(u16, u16),
}

impl Frame {
    /// Reads the next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// When the stream breaks, also amid a frame.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; 7];
        if from.read(&mut bytes[..1]).await? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut bytes[1..]).await?;
        // The protocol header has eight bytes, a frame its payload and an octet that ends it.
        let rest = match bytes[0] {
            b'A' => 1,
            _ => u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]) as usize + 1,
        };
        bytes.resize(7 + rest, 0);
        from.read_exact(&mut bytes[7..]).await?;
        Ok(Some(Self(bytes)))
    }

    /// The frame as it is on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its method; `None` for a content header, a body, a heartbeat and the protocol header.
    pub fn method(&self) -> Option<Method> {
        let payload = self.payload()?;
        let word = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));
        Some(match (word(0)?, word(2)?) {
            (10, 11) => Method::StartOk,
            (10, 50) => Method::ConnectionClose,
            (20, 40) => Method::ChannelClose,
            (60, 20) => Method::Consume,
            (60, 30) => Method::Cancel,
            (60, 40) => Method::Publish,
            (60, 50) => Method::Return,
            (60, 60) => Method::Deliver,
            (60, 80) => Method::Ack,
            (60, 90) => Method::Reject,
            (60, 120) => Method::Nack,
            (class, method) => Method::Other(class, method),
        })
    }

    /// Whether it is this method.
    pub fn is(&self, method: Method) -> bool {
        self.method() == Some(method)
    }

    /// Whether it is a `basic.publish` to this exchange.
    pub fn publishes_to(&self, exchange: &str) -> bool {
        // Class, method and a reserved number stand before it.
        self.is(Method::Publish) && self.payload().and_then(|payload| short(payload, 6)) == Some(exchange)
    }

    /// The name that a client gives its connection, in `connection.start-ok`.
    pub(crate) fn connection_name(&self) -> Option<String> {
        const KEY: &[u8] = b"\x0fconnection_nameS";
        let payload = self.payload().filter(|_| self.is(Method::StartOk))?;
        let at = payload.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
        let length = u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?) as usize;
        let name = payload.get(at + 4..at + 4 + length)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// What is in a method frame, which is of type 1.
    fn payload(&self) -> Option<&[u8]> {
        self.0.get(7..self.0.len() - 1).filter(|_| self.0[0] == 1)
    }
}

/// A string with its length in one octet before it.
fn short(bytes: &[u8], at: usize) -> Option<&str> {
    let length = usize::from(*bytes.get(at)?);
    std::str::from_utf8(bytes.get(at + 1..at + 1 + length)?).ok()
}
