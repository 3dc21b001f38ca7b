//! The time that a probe has: one deadline, and one timer for everything that is waited for until then.
//! To make a timer for each wait, and to take it away again, would be much of what a probe costs beside its handshake.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use tokio::time::{Instant, Sleep};

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
            Poll::Pending => self.timer.as_mut().poll(context).map(|()| None),
        })
        .await
    }
}
