//! The MCS exchange of Standard RDP Security: encryption method and level, and the server's certificate.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::negotiate::end_of;
use crate::{
    observation::Fault,
    wire::{
        DecodeError,
        gcc::EncryptionMethods,
        mcs::{self, ConnectResponse},
        tpkt,
    },
};

/// Sends a Connect Initial that can do `methods` and reads the Connect Response.
///
/// # Errors
/// Anything but a whole Connect Response. That says nothing about the verdict.
pub(super) async fn connect<S>(tcp: &mut S, methods: EncryptionMethods) -> Result<ConnectResponse, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tcp.write_all(&mcs::connect_initial(methods)).await.map_err(|error| end_of(&error))?;
    let mut header = [0; tpkt::HEADER_LENGTH];
    tcp.read_exact(&mut header).await.map_err(|error| end_of(&error))?;
    let length = tpkt::Header::decode(header).map_err(Fault::Malformed)?.length;
    let mut frame = header.to_vec();
    frame.resize(length.into(), 0);
    let payload = frame.get_mut(tpkt::HEADER_LENGTH..).unwrap_or_default();
    tcp.read_exact(payload).await.map_err(|_| Fault::Malformed(DecodeError::Ended { what: "MCS Connect Response" }))?;
    ConnectResponse::decode(&frame).map_err(Fault::Malformed)
}
