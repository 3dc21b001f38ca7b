//! What systemd is told of this process, where it asked to be: sd_notify(3).

/// Where this process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It listens, answers and probes.
    Ready,
    /// It reads its configuration again; `Ready` follows, however that went.
    #[cfg(unix)]
    Reloading,
    Stopping,
}

/// Tells it. Nobody is told where `NOTIFY_SOCKET` is not set.
#[cfg(target_os = "linux")]
pub(super) fn tell(phase: Phase) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let state: &[u8] = match phase {
        Phase::Ready => b"READY=1",
        Phase::Reloading => b"RELOADING=1",
        Phase::Stopping => b"STOPPING=1",
    };
    if let Err(error) = send(&name, state) {
        tracing::warn!(%error, ?phase, "Cannot tell the service manager");
    }
}

/// A name that begins with `@` is an abstract one.
#[cfg(target_os = "linux")]
fn send(name: &std::ffi::OsStr, state: &[u8]) -> std::io::Result<()> {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }?;
    let socket = UnixDatagram::unbound()?;
    // Rather untold than blocked by a manager that does not read.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state, &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn tell(_phase: Phase) {}
