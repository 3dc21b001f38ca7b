//! The companion ports of a silent host: an answer or a refusal shows that it lives.
//! Few at a time, for all targets together: it must not look like a worm.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use super::{Companions, connect::open_one};
use crate::{
    observation::{Companion, Fault},
    target::Settings,
};

/// When the last connections to companion ports began, of all probes of this process.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<VecDeque<Instant>>);

/// Tries the companion ports of the `silent` addresses side by side; nothing where there is no room for that now.
pub(super) async fn try_all(
    budget: &Budget,
    terms: Companions,
    silent: &[SocketAddr],
    settings: &Arc<Settings>,
    deadline: Instant,
) -> Vec<Companion> {
    let silent = silent.iter().take(MAX_ADDRESSES);
    let addresses: Vec<_> =
        silent.flat_map(|address| settings.companion_ports.iter().map(|port| at_port(*address, *port))).collect();
    let has_time = terms != Companions::WhenDueInTime || Instant::now() + LEAST <= deadline;
    if !has_time || !has_room(budget, terms, addresses.len()).await {
        return Vec::new();
    }
    let limit = match terms {
        Companions::WhenDueInTime => deadline.min(Instant::now() + LIMIT),
        _ => Instant::now() + LIMIT,
    };
    let mut running = JoinSet::new();
    for (number, address) in addresses.into_iter().enumerate() {
        let settings = Arc::clone(settings);
        running.spawn(async move {
            let opened = timeout_at(limit, open_one(address, &settings, Instant::now())).await;
            let fault = opened.unwrap_or(Err(Fault::Timeout)).err();
            (number, Companion { address, fault })
        });
    }
    let mut tried = Vec::new();
    while let Some(ended) = running.join_next().await {
        tried.extend(ended);
    }
    tried.sort_by_key(|(number, _)| *number);
    tried.into_iter().map(|(_, companion)| companion).collect()
}

/// Another port of the same host, by the same scope.
fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

async fn has_room(budget: &Budget, terms: Companions, wanted: usize) -> bool {
    while !budget.grants(wanted, Instant::now()) {
        if terms != Companions::AtOnce {
            return false;
        }
        sleep(PATIENCE).await;
    }
    true
}

impl Budget {
    /// Takes the right to begin so many connections, where no more than [`A_SECOND`] begin in any second then.
    fn grants(&self, wanted: usize, now: Instant) -> bool {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while begun.front().is_some_and(|begun| now - *begun >= Duration::from_secs(1)) {
            begun.pop_front();
        }
        let has_room = begun.len() + wanted <= A_SECOND;
        if has_room {
            begun.extend(std::iter::repeat_n(now, wanted));
        }
        has_room
    }
}

/// Connections to companion ports that may begin in any second.
const A_SECOND: usize = 20;
/// Addresses of one name whose companion ports are tried.
const MAX_ADDRESSES: usize = 2;
/// How long companion ports have to answer.
const LIMIT: Duration = Duration::from_secs(2);
/// Less time would take an answer on its way for silence.
const LEAST: Duration = Duration::from_millis(500);
/// Between two looks at whether there is room.
const PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_twenty_connections() {
        let (budget, start) = (Budget::default(), Instant::now());
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!((0..10).all(|number| budget.grants(2, after(number * 50))));
        assert!(!budget.grants(1, after(999)));
        assert!(budget.grants(2, after(1000)), "the first two are a second old");
        assert!(!budget.grants(1, after(1000)));
        assert!(budget.grants(20, after(2000)));
    }
}
