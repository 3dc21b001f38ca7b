//! The time that a probe has: one deadline, and one timer for everything that is waited for until then.
//! To make a timer for each wait, and to take it away again, would be much of what a probe costs beside its handshake.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep},
};

/// When a probe must end.
#[derive(Debug)]
pub(super) struct Limit<'a> {
    deadline: Instant,
    timer: Pin<&'a mut Sleep>,
}

impl<'a> Limit<'a> {
    /// The limit for which `timer` is set.
    pub(super) fn of(timer: Pin<&'a mut Sleep>) -> Self {
        Self { deadline: timer.deadline(), timer }
    }

    /// When it is reached.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What `work` comes to; `None` where the limit is reached before. It is pinned where it is made, as a future that is
    /// handed on is copied and takes its room at each step.
    pub(super) async fn hold<T>(&mut self, work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        self.hold_until(self.deadline, work).await
    }

    /// What `work` comes to; `None` where that takes until `until`, which may also be after the limit.
    pub(super) async fn hold_until<T>(
        &mut self,
        until: Instant,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        if self.timer.deadline() != until {
            self.timer.as_mut().reset(until);
        }
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // Work that never has to wait uses up what the runtime lets a task do at once; the timer is looked at all the same.
            Poll::Pending => pin!(unconstrained(self.timer.as_mut())).poll(context).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        task::consume_budget,
        time::{sleep_until, timeout},
    };

    use super::*;

    /// A server that sends faster than it is read is such work.
    #[tokio::test]
    async fn work_that_never_waits_is_ended_too() {
        let timer = pin!(sleep_until(Instant::now() + Duration::from_millis(20)));
        let mut limit = Limit::of(timer);
        let work = pin!(async {
            loop {
                consume_budget().await;
            }
        });
        let held = timeout(Duration::from_secs(10), limit.hold::<()>(work)).await;
        assert_eq!(held, Ok(None));
    }

    #[tokio::test]
    async fn one_timer_serves_shorter_and_longer_times() {
        let begun = Instant::now();
        let timer = pin!(sleep_until(begun + Duration::from_millis(60)));
        let mut limit = Limit::of(timer);
        for (until, least) in [(20, 20), (40, 40), (30, 40)] {
            let until = begun + Duration::from_millis(until);
            assert_eq!(limit.hold_until(until, pin!(std::future::pending::<()>())).await, None);
            assert!(begun.elapsed() >= Duration::from_millis(least));
        }
        assert_eq!(limit.hold(pin!(std::future::ready(7))).await, Some(7));
        assert_eq!(limit.hold(pin!(std::future::pending::<()>())).await, None);
        assert!(begun.elapsed() >= Duration::from_millis(60));
        let after = begun + Duration::from_millis(80);
        assert_eq!(limit.hold_until(after, pin!(std::future::pending::<()>())).await, None);
        assert!(begun.elapsed() >= Duration::from_millis(80), "also after the limit");
    }
}
