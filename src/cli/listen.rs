//! Where to listen: addresses of the command line, or what a systemd socket unit hands over.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context, bail};
use listenfd::ListenFd;
use tokio::net::{TcpListener, lookup_host};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListenAddress {
    /// Every address of this machine, IPv6 and IPv4.
    Everywhere(u16),
    One(SocketAddr),
    /// A name, to be resolved.
    Named(String),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::One(address) => write!(f, "{address}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Reads an address of the command line.
pub(super) fn address(text: &str) -> Result<ListenAddress, String> {
    if let Ok(address) = text.parse() {
        return Ok(ListenAddress::One(address));
    }
    let expected = || "expected ADDRESS:PORT or :PORT".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse().map_err(|_| expected())?;
    Ok(match host {
        "" => ListenAddress::Everywhere(port),
        _ => ListenAddress::Named(text.to_owned()),
    })
}

/// Listens on all of them, or on none.
pub(super) async fn on(addresses: &[ListenAddress]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(listen(address).await.with_context(|| format!("listen on {address}"))?);
    }
    Ok(listeners)
}

async fn listen(address: &ListenAddress) -> io::Result<TcpListener> {
    match address {
        ListenAddress::One(address) => bound(*address, false),
        ListenAddress::Named(name) => {
            let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            for address in lookup_host(name).await? {
                result = bound(address, false);
                if result.is_ok() {
                    break;
                }
            }
            result
        }
        ListenAddress::Everywhere(port) => {
            // Where IPv6 is off, IPv4 alone will do.
            match bound((Ipv6Addr::UNSPECIFIED, *port).into(), true) {
                Ok(listener) => Ok(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
                Err(_) => bound((Ipv4Addr::UNSPECIFIED, *port).into(), false),
            }
        }
    }
}

/// Listens on one address; where it is all of IPv6, on all of IPv4 too if `dual_stack`.
fn bound(address: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if dual_stack {
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The sockets that were handed over (sd_listen_fds(3)).
pub(super) fn on_handed_over() -> anyhow::Result<Vec<TcpListener>> {
    let mut handed_over = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed_over.len() {
        let listener = handed_over.take_tcp_listener(index);
        let listener =
            listener.with_context(|| format!("socket {index} of the socket unit is not a TCP one that listens"))?;
        let Some(listener) = listener else { continue };
        listener.set_nonblocking(true)?;
        listeners.push(TcpListener::from_std(listener)?);
    }
    if listeners.is_empty() {
        bail!("--web.systemd-socket, but no socket was handed over (LISTEN_FDS and LISTEN_PID)");
    }
    Ok(listeners)
}

/// Connections that wait to be accepted: the system's own default is a burst of 128.
const BACKLOG: i32 = 1024;
