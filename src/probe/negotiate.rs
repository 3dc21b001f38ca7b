//! The X.224 connection request and whatever comes back.
//! Reads no byte that belongs to TLS.

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

/// One whole frame, at most as long as a connection PDU can be. No more is read at once than a confirm that leads to TLS
/// has, so that nothing that belongs to TLS is.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Fault> {
    let mut begin = [0; CONFIRM_LENGTH];
    let mut have = 0;
    while have < tpkt::HEADER_LENGTH {
        match stream.read(begin.get_mut(have..).unwrap_or_default()).await {
            Ok(0) if have == 0 => return Err(Fault::Closed),
            Ok(0) => return Err(ended("TPKT header")),
            Ok(count) => have += count,
            Err(error) if have == 0 => return Err(end_of(&error)),
            Err(_) => return Err(ended("TPKT header")),
        }
        let begins_like_tpkt = begin.iter().take(have).zip([tpkt::VERSION, 0]).all(|(found, wanted)| *found == wanted);
        if !begins_like_tpkt {
            return Err(Fault::NotTpkt(evidence(stream, begin.get(..have).unwrap_or_default()).await));
        }
    }
    let mut frame = begin.get(..have).unwrap_or_default().to_vec();
    let header = frame.first_chunk().copied().unwrap_or_default();
    let length = usize::from(tpkt::Header::decode(header).map_err(Fault::Malformed)?.length);
    if length > x224::MAX_FRAME_LENGTH {
        return Err(Fault::Malformed(DecodeError::Field {
            what: "TPKT length",
            found: u32::try_from(length).unwrap_or(u32::MAX),
            expected: CONFIRM_LENGTH as u32,
        }));
    }
    // A shorter answer is no way to TLS; a server that goes on unasked speaks no RDP.
    frame.resize(length, 0);
    let rest = frame.get_mut(have..).unwrap_or_default();
    stream.read_exact(rest).await.map_err(|_| ended("TPKT payload"))?;
    Ok(frame)
}

/// The first bytes of an answer that is not RDP, for a person to read: what came with them, without waiting for more.
async fn evidence<S: AsyncRead + Unpin>(stream: &mut S, first: &[u8]) -> Vec<u8> {
    let mut bytes = first.to_vec();
    let mut more = [0; EVIDENCE_LENGTH];
    let room = more.get_mut(first.len()..).unwrap_or_default();
    if let Ok(Ok(count)) = timeout(Duration::ZERO, stream.read(room)).await {
        bytes.extend_from_slice(room.get(..count).unwrap_or_default());
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
const CONFIRM_LENGTH: usize = 19;
/// What is kept of an answer that is not RDP.
const EVIDENCE_LENGTH: usize = 64;
