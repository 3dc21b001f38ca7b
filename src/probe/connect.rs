//! The TCP connection: every address of the name, one after another, each with its own time, and something left for each
//! that is still to come.
//! No racing: that would open two connections to one host.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpStream, time::Instant};

use super::limit::Limit;

use crate::{
    observation::{Attempt, Fault, LocalFault, LocalReason, Timed},
    target::Settings,
};

/// Opens a connection to the first address that answers; the others are recorded.
///
/// # Errors
/// The fault that says most about the target, where none answered.
pub(super) async fn open(
    addresses: &[SocketAddr],
    settings: &Settings,
    limit: &mut Limit<'_>,
    attempts: &mut Vec<Attempt>,
) -> Result<(TcpStream, Timed<SocketAddr>), Fault> {
    for (number, &address) in addresses.iter().enumerate() {
        let begun = Instant::now();
        if begun >= limit.deadline() && !attempts.is_empty() {
            break;
        }
        let left = limit.deadline().saturating_duration_since(begun);
        let until = begun + share_of(left, addresses.len() - number - 1, settings.connect_timeout);
        let opened = limit.hold_until(until, pin!(open_one(address, settings, begun))).await;
        let opened = opened.unwrap_or(Err(Fault::Timeout));
        let after = begun.elapsed();
        match opened {
            Ok(tcp) => return Ok((tcp, Timed { fact: address, took: after })),
            Err(fault) => attempts.push(Attempt { address, fault, after }),
        }
    }
    Err(most_telling(attempts))
}

/// How long an address may take of what is `left`, where so many more are to be tried after it.
fn share_of(left: Duration, more: usize, most: Duration) -> Duration {
    let for_the_others = LEAST_SHARE.saturating_mul(u32::try_from(more).unwrap_or(u32::MAX));
    left.saturating_sub(for_the_others).max(LEAST_SHARE).min(most).min(left)
}

/// A refusal tells more than an unreachable, and that more than silence; our own trouble counts only where no address
/// gave anything else (one family without a route says nothing about the target).
fn most_telling(attempts: &[Attempt]) -> Fault {
    let rank = |fault: &Fault| match fault {
        Fault::Closed | Fault::Reset => 0,
        Fault::Refused => 1,
        Fault::Unreachable(_) => 2,
        Fault::Timeout => 3,
        _ => 4,
    };
    attempts.iter().map(|attempt| &attempt.fault).min_by_key(|fault| rank(fault)).cloned().unwrap_or(Fault::Timeout)
}

pub(super) async fn open_one(address: SocketAddr, settings: &Settings, begun: Instant) -> Result<TcpStream, Fault> {
    let tcp = begin(address, settings)?;
    let finished = match tcp.writable().await {
        Ok(()) => tcp.take_error().unwrap_or_else(Some),
        Err(error) => Some(error),
    };
    match finished {
        None => Ok(tcp),
        Some(error) => Err(late_fault(&error, begun.elapsed())),
    }
}

/// Sends the SYN. An error here came at once, so no packet has left: it is our own, but for a refusal.
fn begin(address: SocketAddr, settings: &Settings) -> Result<TcpStream, Fault> {
    let local = |operation: &'static str| move |error: io::Error| Fault::Local(local_fault(operation, &error));
    let socket = open_socket(Domain::for_address(address)).map_err(local("open a socket"))?;
    if let Some(source) = settings.source_address {
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(local("bind the source address"))?;
    }
    // Without it the request may wait for an acknowledgement; where it is refused the probe goes on.
    let _ = socket.set_tcp_nodelay(true);
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Fault::Refused),
        Err(error) => return Err(local("connect")(error)),
    }
    TcpStream::from_std(socket.into()).map_err(local("register a socket"))
}

/// Linux and others make it non-blocking at once.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn open_socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn open_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(unix)]
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

#[cfg(not(unix))]
fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// What a connection attempt that had begun came to.
///
/// "Host unreachable" after more than a second is not a router's word but our own neighbour table giving up on a silent
/// host in the same subnet.
fn late_fault(error: &io::Error, after: Duration) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Fault::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => Fault::Reset,
        io::ErrorKind::TimedOut => Fault::Timeout,
        io::ErrorKind::HostUnreachable if after > NEIGHBOUR_SILENCE => Fault::Timeout,
        _ => match error.raw_os_error() {
            Some(errno) => Fault::Unreachable(errno),
            None => Fault::Reset,
        },
    }
}

pub(super) fn local_fault(operation: &str, error: &io::Error) -> LocalFault {
    let reason = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => LocalReason::Descriptors,
        Some(libc::ENOMEM | libc::ENOBUFS) => LocalReason::Memory,
        Some(libc::EPERM | libc::EACCES) => LocalReason::Permission,
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => LocalReason::AddressUnavailable,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EAFNOSUPPORT) => LocalReason::NoRoute,
        _ => LocalReason::System,
    };
    LocalFault { reason, text: format!("{operation}: {error}") }
}

/// Left for each address that is still to be tried, as long as there is so much: a host that lives answers sooner.
const LEAST_SHARE: Duration = Duration::from_millis(500);
/// ARP and neighbour discovery give up after about three seconds; routers answer in milliseconds.
const NEIGHBOUR_SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::sleep_until;

    use super::*;
    use crate::config::Config;

    fn attempt(fault: Fault) -> Attempt {
        Attempt { address: "127.0.0.1:1".parse().unwrap(), fault, after: Duration::ZERO }
    }

    #[test]
    fn one_family_without_a_route_does_not_hide_what_the_other_says() {
        let no_route = || Fault::Local(LocalFault { reason: LocalReason::NoRoute, text: String::new() });
        assert_eq!(most_telling(&[attempt(no_route()), attempt(Fault::Timeout)]), Fault::Timeout);
        assert_eq!(most_telling(&[attempt(Fault::Timeout), attempt(Fault::Refused)]), Fault::Refused);
        assert_eq!(most_telling(&[attempt(no_route())]), no_route());
    }

    #[test]
    fn silent_addresses_leave_time_for_those_after_them() {
        let shares = |addresses: usize, timeout: u64| {
            let mut left = Duration::from_millis(timeout);
            let shares = (0..addresses).rev().map(|more| {
                let share = share_of(left, more, Duration::from_millis(2500));
                left -= share;
                share.as_millis()
            });
            shares.collect::<Vec<_>>()
        };
        assert_eq!(shares(1, 10_000), [2500]);
        assert_eq!(shares(4, 10_000), [2500; 4]);
        assert_eq!(shares(5, 10_000), [2500, 2500, 2500, 2000, 500]);
        assert_eq!(shares(6, 10_000), [2500, 2500, 2500, 1500, 500, 500]);
        assert_eq!(shares(2, 2000), [1500, 500]);
        assert_eq!(shares(2, 300), [300, 0]);
        let many = shares(30, 10_000);
        assert_eq!(many[..20], [500; 20]);
        assert_eq!(many[20..], [0; 10], "there is no time for all");
    }

    #[tokio::test]
    async fn a_living_address_behind_silent_ones_is_reached() {
        // Linux drops a SYN where the queue of connections that nobody accepts is full.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let silent = listener.local_addr().unwrap().as_socket().unwrap();
        let _waiting = [std::net::TcpStream::connect(silent).unwrap()];
        let living = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [silent, silent, living.local_addr().unwrap()];
        let defaults = Config::without_file().module("default").unwrap().clone();
        let settings = Settings { connect_timeout: Duration::from_secs(1), ..Settings::clone(&defaults) };
        // A machine that stands still for half a second leaves no time for the third address: once is chance.
        for _ in 0..3 {
            let timer = pin!(sleep_until(Instant::now() + Duration::from_millis(1600)));
            let mut attempts = Vec::new();
            if let Ok(opened) = open(&addresses, &settings, &mut Limit::of(timer), &mut attempts).await {
                assert_eq!((opened.1.fact, attempts.len()), (addresses[2], 2));
                return;
            }
        }
        panic!("no time is left for the third address");
    }

    #[test]
    fn a_late_host_unreachable_is_silence() {
        let error = io::Error::from_raw_os_error(libc::EHOSTUNREACH);
        assert_eq!(late_fault(&error, Duration::from_millis(3100)), Fault::Timeout);
        assert_eq!(late_fault(&error, Duration::from_millis(5)), Fault::Unreachable(libc::EHOSTUNREACH));
    }
}
