//! The hand-made ClientHello and the server's first flight in the clear.
//! For servers that rustls cannot talk to: version, cipher suite and certificate, without any cryptography.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::negotiate::end_of;
use crate::{
    observation::Fault,
    wire::clear_tls::{Alert, CLOSE_NOTIFY, ClientHello, Facts, Flight, HelloForm, Progress, close_notify},
};

/// Reads the first flight into `flight`, which keeps what was learnt until a fault.
///
/// # Errors
/// How it stopped before its end.
pub(super) async fn first_flight(
    tcp: &mut (impl AsyncRead + AsyncWrite + Unpin),
    form: HelloForm,
    server_name: Option<&str>,
    flight: &mut Flight,
) -> Result<(), Fault> {
    let hello = ClientHello { form, random: random()?, server_name }.encode();
    tcp.write_all(&hello).await.map_err(|error| end_of(&error))?;
    let mut buffer = vec![0; 4096];
    loop {
        let count = tcp.read(&mut buffer).await.map_err(|error| end_of(&error))?;
        if count == 0 {
            return Err(Fault::Closed);
        }
        let progress = flight.feed(buffer.get(..count).unwrap_or_default()).map_err(Fault::Malformed)?;
        if progress == Progress::Done {
            break;
        }
    }
    match flight.facts().alert {
        Some(alert) if alert.is_fatal() => Err(Fault::Alert(alert.description)),
        // No warning ends a flight, but for close_notify.
        Some(Alert { description: CLOSE_NOTIFY, .. }) => Err(Fault::Closed),
        Some(_) | None => Ok(()),
    }
}

/// Says goodbye in the server's version. It may be gone already.
pub(super) async fn end(tcp: &mut (impl AsyncWrite + Unpin), facts: &Facts) {
    if let Some(hello) = facts.server_hello {
        let _ = tcp.write_all(&close_notify(hello.version)).await;
    }
}

fn random() -> Result<[u8; 32], Fault> {
    let random = ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new());
    random.map(ring::rand::Random::expose).map_err(|_| Fault::TlsBroken("no random numbers".to_owned()))
}
