//! Name to addresses, by the system's own resolver.
//! std's and tokio's look-ups lose the resolver's error code, which tells a missing name from a broken resolver.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use dns_lookup::{AddrFamily, AddrInfoHints, LookupError, LookupErrorKind, SockType};
use socket2::{Domain, Socket, Type};
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

use super::connect::local_fault;
use crate::{
    observation::{Fault, LocalFault, LocalReason},
    target::{Address, Host, IpProtocol},
};

/// Looks names up, a bounded number at once.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    places: Arc<Semaphore>,
    /// Half of them, which is all that targets' names without an answer get: they must not keep the others waiting.
    slow_places: Arc<Semaphore>,
    /// A quarter of them, which is all that strangers get: whoever asks for them may ask for many.
    strangers: Arc<Semaphore>,
    /// Half of that quarter, for those without an answer.
    slow_strangers: Arc<Semaphore>,
    slow: Arc<Slow>,
}

/// Names whose last look-up took long to come to nothing.
#[derive(Debug, Default)]
struct Slow(Mutex<HashSet<String>>);

impl Slow {
    fn includes(&self, name: &str) -> bool {
        self.lock().contains(name)
    }

    fn note(&self, name: &str, is_slow: bool) {
        let mut names = self.lock();
        if !is_slow {
            names.remove(name);
        } else {
            // More than that are no configuration's; they are found out again.
            if names.len() >= MAX_SLOW_NAMES {
                names.clear();
            }
            names.insert(name.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver {
    pub(super) fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            places: places(MAX_LOOK_UPS),
            slow_places: places(MAX_LOOK_UPS / 2),
            strangers: places(MAX_LOOK_UPS / 4),
            slow_strangers: places(MAX_LOOK_UPS / 8),
            slow: Arc::default(),
        }
    }

    /// The addresses of a name, families alternating; a stranger's is no target's.
    ///
    /// A look-up cannot be cancelled and a silent resolver holds its thread for about ten seconds, so each has a thread
    /// of its own, and its place is free again only when the thread has ended.
    pub(super) async fn look_up(
        &self,
        address: &Address,
        wanted: IpProtocol,
        is_strangers: bool,
    ) -> Result<Vec<SocketAddr>, Fault> {
        let host = match &address.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        };
        let take = async |places: &Arc<Semaphore>| Arc::clone(places).acquire_owned().await.map_err(|_| abandoned());
        let slow_place = match (self.slow.includes(&host), is_strangers) {
            (true, true) => Some(take(&self.slow_strangers).await?),
            (true, false) => Some(take(&self.slow_places).await?),
            (false, _) => None,
        };
        let strangers_place = if is_strangers { Some(take(&self.strangers).await?) } else { None };
        // Where all places are taken by look-ups that get no answer, it is the resolver that is silent.
        let place = take(&self.places).await?;
        let (answer, answered) = oneshot::channel();
        let slow = Arc::clone(&self.slow);
        let port = address.port;
        thread::Builder::new()
            .name("look-up".into())
            .spawn(move || {
                let begun = Instant::now();
                let found = look_up_as_the_system_can(&host, port, wanted);
                slow.note(&host, found.is_err() && begun.elapsed() >= SLOW);
                // The probe may have given up by now; then nobody reads the answer.
                let _ = answer.send(found);
                drop((slow_place, strangers_place, place));
            })
            .map_err(|error| local(LocalReason::Memory, &format!("start a look-up: {error}")))?;
        answered.await.unwrap_or_else(|_| Err(abandoned()))
    }
}

fn abandoned() -> Fault {
    local(LocalReason::Stopping, "the look-up was abandoned")
}

fn local(reason: LocalReason, text: &str) -> Fault {
    Fault::Local(LocalFault { reason, text: text.to_owned() })
}

/// Without a descriptor the system finds neither its files nor its resolver, and reports that as if it was theirs.
fn look_up_as_the_system_can(host: &str, port: u16, wanted: IpProtocol) -> Result<Vec<SocketAddr>, Fault> {
    system_look_up(host, port, wanted).map_err(|fault| match Socket::new(Domain::IPV4, Type::DGRAM, None) {
        Err(error) => Fault::Local(local_fault("look up the name: open a socket", &error)),
        Ok(_) => fault,
    })
}

fn system_look_up(host: &str, port: u16, wanted: IpProtocol) -> Result<Vec<SocketAddr>, Fault> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        address: match wanted {
            IpProtocol::Any => AddrInfoHints::default().address,
            IpProtocol::Ip4 => AddrFamily::Inet.into(),
            IpProtocol::Ip6 => AddrFamily::Inet6.into(),
        },
        ..AddrInfoHints::default()
    };
    let entries = dns_lookup::getaddrinfo(Some(host), None, Some(hints)).map_err(|error| fault_of(&error))?;
    let mut addresses = Vec::new();
    for entry in entries.flatten().take(MAX_ADDRESSES) {
        // A link-local address is nothing without its scope.
        let mut address = entry.sockaddr;
        address.set_port(port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(Fault::NameNotFound),
        false => Ok(alternate(addresses)),
    }
}

fn fault_of(error: &LookupError) -> Fault {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => Fault::NameNotFound,
        _ if error.error_num() == EAI_ADDRFAMILY => Fault::NameNotFound,
        _ => Fault::ResolverFailed(error.error_num()),
    }
}

/// Puts the families in turn, beginning with the first address's, each in the resolver's order.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let total = addresses.len();
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(total);
    while mixed.len() < total {
        mixed.extend(first.next());
        mixed.extend(second.next());
    }
    mixed
}

/// Look-ups under way at once.
const MAX_LOOK_UPS: usize = 64;
/// A resolver that answers does so sooner; one that does not is asked again after five seconds.
const SLOW: Duration = Duration::from_secs(2);
const MAX_SLOW_NAMES: usize = 50_000;
/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 64;
/// "The network host does not have any network addresses in the requested address family" on Linux.
const EAI_ADDRFAMILY: i32 = -9;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_link_local_address_keeps_its_scope() {
        let found = system_look_up("fe80::1%lo", 3389, IpProtocol::Any);
        assert_eq!(found, Ok(vec!["[fe80::1%1]:3389".parse().unwrap()]));
    }

    #[test]
    fn families_alternate_in_the_resolvers_order() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = alternate(parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]));
        assert_eq!(mixed, parse(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]));
        assert_eq!(alternate(parse(&["1.0.0.1:1"])), parse(&["1.0.0.1:1"]));
    }

    #[tokio::test]
    async fn strangers_share_a_quarter_of_the_places_and_no_other() {
        let resolver = Resolver::new();
        let address = "localhost:3389".parse().unwrap();
        let look_up = |is_strangers| resolver.look_up(&address, IpProtocol::Any, is_strangers);
        let all_of =
            |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_many_owned(places.available_permits() as u32);
        let held = all_of(&resolver.strangers).unwrap();
        assert!(look_up(false).await.is_ok());
        let waited = tokio::time::timeout(Duration::from_millis(300), look_up(true)).await;
        assert!(waited.is_err(), "{waited:?}");
        drop(held);
        let of_slow_ones = (all_of(&resolver.slow_places).unwrap(), all_of(&resolver.slow_strangers).unwrap());
        assert!(look_up(true).await.is_ok(), "it was never slow");
        drop(of_slow_ones);
        let held = all_of(&resolver.slow_places).unwrap();
        resolver.slow.note("localhost", true);
        assert!(look_up(true).await.is_ok(), "slow targets do not keep strangers waiting");
        drop(held);
    }
}
