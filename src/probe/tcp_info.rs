//! What the system knows of the probe's own connection: the smoothed round trip, and what had to be sent again.
//! Linux has it (`TCP_INFO`); elsewhere there is no such fact.

use tokio::net::TcpStream;

use crate::observation::NetworkFacts;

/// The facts of `tcp`, where the system has them.
#[cfg(target_os = "linux")]
pub(super) fn read(tcp: &TcpStream) -> Option<NetworkFacts> {
    use std::{os::fd::AsRawFd, time::Duration};

    let mut info = [0_u8; 256];
    let length = uapi::getsockopt(tcp.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).ok()?;
    let field = |offset: usize| {
        let bytes = info.get(..length)?.get(offset..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    Some(NetworkFacts {
        round_trip: Duration::from_micros(field(SMOOTHED_ROUND_TRIP)?.into()),
        retransmits: field(TOTAL_RETRANSMITS)?,
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read(_tcp: &TcpStream) -> Option<NetworkFacts> {
    None
}

/// Offset of `tcpi_rtt` in `struct tcp_info`, microseconds.
#[cfg(target_os = "linux")]
const SMOOTHED_ROUND_TRIP: usize = 68;
/// Offset of `tcpi_total_retrans`.
#[cfg(target_os = "linux")]
const TOTAL_RETRANSMITS: usize = 100;
