//! One CredSSP request with an NTLM NEGOTIATE, and the CHALLENGE that comes back.
//! INVARIANT: nothing is sent after it. An AUTHENTICATE message, even an empty one, would be an attempt to log on.

use std::time::{Duration, SystemTime};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{tls::Session, wall_clock};
use crate::{
    observation::{ChallengeFacts, Fault},
    wire::{DecodeError, credssp, ntlm::Challenge},
};

/// Asks for the challenge over an established TLS connection.
///
/// # Errors
/// No whole challenge. That says nothing about the verdict.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<'_, S>,
) -> Result<ChallengeFacts, Fault> {
    let (sent, begun) = (wall_clock(), Instant::now());
    session.say(&credssp::negotiate()).await?;
    let frame = read_frame(session).await?;
    let round_trip = begun.elapsed();
    let answer = credssp::Answer::decode(&frame).map_err(Fault::Malformed)?;
    let token = answer.token.ok_or(Fault::Malformed(DecodeError::Truncated { what: "TSRequest negoTokens" }))?;
    let challenge = Challenge::decode(token).map_err(Fault::Malformed)?;
    let clock_skew_seconds = challenge.time.map(|theirs| seconds_between(sent + round_trip / 2, theirs));
    Ok(ChallengeFacts { challenge, clock_skew_seconds })
}

/// One whole `TSRequest`.
async fn read_frame<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Session<'_, S>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    loop {
        match credssp::frame_length(&bytes).map_err(Fault::Malformed)? {
            Some(length) if bytes.len() >= length => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            _ => session.hear(&mut bytes).await?,
        }
    }
}

/// From `ours` to `theirs`, negative where theirs is earlier.
fn seconds_between(ours: SystemTime, theirs: SystemTime) -> f64 {
    match theirs.duration_since(ours) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -Duration::as_secs_f64(&behind.duration()),
    }
}
