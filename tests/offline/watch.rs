//! Time as the tests measure it: a shared machine stands still now and then, which is nobody's delay.

use std::{
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Measures a stretch of time.
pub(crate) struct Watch {
    begun: Instant,
    lost_before: Duration,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        Self { lost_before: lost(), begun: Instant::now() }
    }

    /// How long it has been.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// For how much of it this process stood still, or waited for a processor.
    pub(crate) fn stood_still(&self) -> Duration {
        // A standstill that has just ended is noticed by then.
        thread::sleep(TICK * 2);
        lost() - self.lost_before
    }
}

/// What a thread that wants to wake at each tick has lost so far.
fn lost() -> Duration {
    static BEGIN: Once = Once::new();
    static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
    BEGIN.call_once(|| {
        thread::spawn(|| {
            loop {
                let begun = Instant::now();
                thread::sleep(TICK);
                let late = begun.elapsed() - TICK;
                if late >= TICK {
                    MICROSECONDS.fetch_add(late.as_micros() as u64, Ordering::SeqCst);
                }
            }
        });
    });
    Duration::from_micros(MICROSECONDS.load(Ordering::SeqCst))
}

const TICK: Duration = Duration::from_millis(5);
