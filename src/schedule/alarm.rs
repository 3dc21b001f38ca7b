//! The timer of the schedule.

use std::{future::poll_fn, mem, pin::Pin, task::Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings when the next target is due.
///
/// It is set for the target after that as well. A timer that is set to go off before all others makes the runtime wake
/// itself, by a write to a descriptor and one more turn of its loop; here it is there already when it becomes the first.
#[derive(Debug)]
pub(super) struct Alarm {
    next: Pin<Box<Sleep>>,
    after: Pin<Box<Sleep>>,
    is_set: bool,
}

impl Alarm {
    /// An alarm that is not set.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { next: Box::pin(sleep_until(now)), after: Box::pin(sleep_until(now)), is_set: false }
    }

    /// Sets it for the first one of `due`, which are in order.
    pub(super) fn set(&mut self, mut due: impl Iterator<Item = Instant>) {
        let Some(next) = due.next() else {
            self.is_set = false;
            return;
        };
        self.is_set = true;
        if self.next.deadline() != next {
            mem::swap(&mut self.next, &mut self.after);
        }
        set(&mut self.next, next);
        if let Some(after) = due.next() {
            set(&mut self.after, after);
        }
    }

    /// Waits until it rings.
    pub(super) async fn rings(&mut self) {
        poll_fn(|context| match self.is_set {
            true => self.next.as_mut().poll(context),
            // It is set between two waits only.
            false => Poll::Pending,
        })
        .await;
    }
}

fn set(timer: &mut Pin<Box<Sleep>>, at: Instant) {
    if timer.deadline() != at {
        timer.as_mut().reset(at);
    }
}
