//! A token bucket: so many bytes a second, with the limit changeable while it is in use.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The bucket holds what flows in this time, so that a limit is kept on the scale that a person can see.
const BURST: Duration = Duration::from_millis(100);

/// After a change of the limit, a waiter notices within this.
const NOTICE: Duration = Duration::from_millis(200);

/// So many bytes a second.
#[derive(Debug)]
pub struct Limiter {
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    rate: Option<u64>,
    /// When all that was let through so far will have been due.
    due: Instant,
}

impl Limiter {
    /// A limit in bytes a second; `None`: as many as go.
    pub fn new(rate: Option<u64>) -> Self {
        Self { bucket: Mutex::new(Bucket { rate, due: Instant::now() }) }
    }

    /// Another limit, at once also for those who wait.
    pub fn set(&self, rate: Option<u64>) {
        let mut bucket = self.lock();
        if bucket.rate != rate {
            *bucket = Bucket { rate, due: Instant::now() };
        }
    }

    /// The limit.
    pub fn rate(&self) -> Option<u64> {
        self.lock().rate
    }

    /// Returns when so many bytes may go.
    pub async fn pass(&self, bytes: usize) {
        while let Some(wait) = self.take(bytes) {
            tokio::time::sleep(wait.min(NOTICE)).await;
        }
    }

    /// Takes the bytes, or says how long to wait before trying again.
    fn take(&self, bytes: usize) -> Option<Duration> {
        let mut bucket = self.lock();
        let rate = bucket.rate?;
        let now = Instant::now();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        if bucket.due > now {
            return Some(bucket.due - now);
        }
        bucket.due = bucket.due.max(earliest) + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_kept_over_time() {
        let limiter = Limiter::new(Some(1_000_000));
        let began = Instant::now();

        for _ in 0..100 {
            limiter.pass(65_536).await;
        }

        let seconds = began.elapsed().as_secs_f64();
        assert!((6.0..7.0).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_notices_that_the_limit_went() {
        let limiter = Arc::new(Limiter::new(Some(1)));
        limiter.pass(1_000_000).await;
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.pass(1).await }
        });

        limiter.set(None);

        tokio::time::timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap();
    }
}
