//! `rate_limit`: a bucket of requests that fills up again with time. Time is an argument.

use tokio::time::Instant;

use crate::config::RateLimit;

/// How many requests may be answered at once.
#[derive(Debug)]
pub(super) struct Bucket {
    filled: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { filled: f64::INFINITY, at: now }
    }

    /// Takes a request out, where there is one.
    pub(super) fn take(&mut self, limit: RateLimit, now: Instant) -> bool {
        let earned = now.duration_since(self.at).as_secs_f64() / limit.interval.as_secs_f64();
        self.at = now;
        self.filled = (self.filled + earned).min(f64::from(limit.burst));
        let is_there = self.filled >= 1.0;
        self.filled -= f64::from(u8::from(is_there));
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_starts_full_and_fills_up_by_one_each_interval() {
        let begin = Instant::now();
        let limit = RateLimit { interval: Duration::from_secs(2), burst: 3 };
        let mut bucket = Bucket::new(begin);
        for (seconds, answered) in
            [(0, 3), (0, 0), (1, 0), (2, 1), (3, 0), (6, 2), (100, 3), (100, 0), (103, 1), (104, 1), (105, 0)]
        {
            let now = begin + Duration::from_secs(seconds);
            let taken = (0..answered + 1).filter(|_| bucket.take(limit, now)).count();
            assert_eq!(taken, answered, "after {seconds} s");
        }
    }
}
