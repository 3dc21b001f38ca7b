//! The X.224 connection request and whatever comes back.
//! Reads exactly one frame, so that what follows belongs to TLS.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    observation::{Fault, Negotiation},
    wire::{
        DecodeError,
        negotiation::{NegotiationAnswer, Protocols},
        tpkt,
        x224::{self, Answer, ConnectionRequest},
    },
};

/// Offers `protocols` and reads the answer.
///
/// # Errors
/// Anything but a whole, valid answer.
pub(super) async fn ask<S>(stream: &mut S, protocols: Protocols, cookie: &str) -> Result<Negotiation, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = ConnectionRequest::offering(protocols, cookie).encode();
    // A server that speaks first may have closed by now; what it said is still there to be read.
    let written = stream.write_all(&request).await;
    let frame = read_frame(stream).await;
    if let (Err(error), Err(Fault::Closed)) = (written, &frame) {
        return Err(end_of(&error));
    }
    let negotiation = match Answer::decode(&frame?).map_err(Fault::Malformed)? {
        Answer::DisconnectUltimatum => Negotiation::Disconnected,
        Answer::Confirm(None) => Negotiation::Absent,
        Answer::Confirm(Some(NegotiationAnswer::Failure(code))) => Negotiation::Refused(code),
        Answer::Confirm(Some(NegotiationAnswer::Response { protocol, flags })) => {
            if !protocols.permits(protocol) {
                return Err(Fault::Unoffered(protocol));
            }
            Negotiation::Selected { protocol, flags }
        }
    };
    Ok(negotiation)
}

/// One whole frame, at most as long as a connection PDU can be.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Fault> {
    let mut header = [0; tpkt::HEADER_LENGTH];
    let mut have = 0;
    while have < header.len() {
        let rest = header.get_mut(have..).unwrap_or_default();
        match stream.read(rest).await {
            Ok(0) if have == 0 => return Err(Fault::Closed),
            Ok(0) => return Err(ended("TPKT header")),
            Ok(count) => have += count,
            Err(error) if have == 0 => return Err(end_of(&error)),
            Err(_) => return Err(ended("TPKT header")),
        }
        let begins_like_tpkt = header.iter().take(have).zip([tpkt::VERSION, 0]).all(|(found, wanted)| *found == wanted);
        if !begins_like_tpkt {
            return Err(Fault::NotTpkt(evidence(stream, header.get(..have).unwrap_or_default()).await));
        }
    }
    let parsed = tpkt::Header::decode(header).map_err(Fault::Malformed)?;
    if usize::from(parsed.length) > x224::MAX_FRAME_LENGTH {
        return Err(Fault::Malformed(DecodeError::Field {
            what: "TPKT length",
            found: parsed.length.into(),
            expected: CONFIRM_LENGTH,
        }));
    }
    let mut frame = header.to_vec();
    frame.resize(usize::from(parsed.length), 0);
    let payload = frame.get_mut(tpkt::HEADER_LENGTH..).unwrap_or_default();
    stream.read_exact(payload).await.map_err(|_| ended("TPKT payload"))?;
    Ok(frame)
}

/// The first bytes of an answer that is not RDP, for a person to read: what came with them, without waiting for more.
async fn evidence<S: AsyncRead + Unpin>(stream: &mut S, first: &[u8]) -> Vec<u8> {
    let mut bytes = first.to_vec();
    let mut more = [0; 60];
    if let Ok(Ok(count)) = timeout(Duration::ZERO, stream.read(&mut more)).await {
        bytes.extend_from_slice(more.get(..count).unwrap_or_default());
    }
    bytes
}

fn ended(what: &'static str) -> Fault {
    Fault::Malformed(DecodeError::Ended { what })
}

/// How a connection ended, by the error that told so.
pub(super) fn end_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Closed,
        io::ErrorKind::TimedOut => Fault::Timeout,
        _ => Fault::Reset,
    }
}

/// A confirm with negotiation data.
const CONFIRM_LENGTH: u32 = 19;
