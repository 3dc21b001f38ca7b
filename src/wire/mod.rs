//! Bytes to messages and back: what an RDP server says before anybody logs on.
//! No sockets, no clock, no configuration; every function here is total.
//!
//! Panic contract: no input makes a decoder panic, and none makes it hold more than a few times the input's length. All
//! reading goes through [`reader::Reader`], and where TLS says more in one field, through `tls-parser`.

pub mod ber;
pub mod clear_tls;
pub mod credssp;
pub mod gcc;
pub mod mcs;
pub mod negotiation;
pub mod ntlm;
pub mod reader;
pub mod tls_version;
pub mod tpkt;
pub mod x224;

/// Why bytes are not the message that was expected. `what` is the specification's name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The connection ended in the middle of the message.
    #[error("the connection ended inside the {what}")]
    Ended {
        /// What was being read.
        what: &'static str,
    },
    /// A length or a constant that cannot be right.
    #[error("{what} is {found}, expected {expected}")]
    Field {
        /// The field.
        what: &'static str,
        /// What stood there.
        found: u32,
        /// What should have stood there.
        expected: u32,
    },
    /// More bytes than the message has.
    #[error("{extra} bytes after the {what}")]
    Trailing {
        /// The message.
        what: &'static str,
        /// How many.
        extra: usize,
    },
    /// Fewer bytes than the message has.
    #[error("{what} is cut short")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A value that the specification does not know.
    #[error("unknown {what} {found:#04x}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// The value.
        found: u32,
    },
}
