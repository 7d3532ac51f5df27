//! When to sweep.
//!
//! A fixed rhythm is tokio's own interval. A cron expression is turned into wake-ups by `tokio-cron-scheduler`, and into
//! nothing else: its runs of one job overlap, and its shutdown leaves jobs alive, so what must not overlap, must end
//! cleanly and must survive a paused process stays in our own loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// A cron expression that can't be understood.
#[derive(Debug, thiserror::Error)]
#[error("the cron expression {expression:?} can't be understood: use five fields, or six with seconds first")]
pub struct InvalidCron {
    expression: String,
    #[source]
    source: JobSchedulerError,
}

/// Says when the next pass is due.
pub struct Schedule {
    rhythm: Rhythm,
    every: Duration,
}

enum Rhythm {
    Every(Interval),
    Cron { wake: Arc<Notify>, scheduler: JobScheduler },
}

impl Schedule {
    /// A pass every `period`, the first at once. A pass that is late doesn't make the next ones hurry.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        let mut interval = interval_at(Instant::now(), period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { rhythm: Rhythm::Every(interval), every: period }
    }

    /// Passes as a cron expression says (UTC): five fields, or six with seconds first.
    ///
    /// # Errors
    /// [`InvalidCron`].
    pub async fn cron(expression: &str) -> Result<Self, InvalidCron> {
        let refused = |source| InvalidCron { expression: expression.to_owned(), source };
        let wake = Arc::new(Notify::new());
        let (job, every) = wake_up(expression, &wake).map_err(refused)?;
        let mut scheduler = JobScheduler::new().await.map_err(refused)?;
        // Only what these calls do is wanted of the scheduler: to call the job when it is time.
        scheduler.init().await.map_err(refused)?;
        scheduler.add(job).await.map_err(refused)?;
        scheduler.start().await.map_err(refused)?;
        Ok(Self { rhythm: Rhythm::Cron { wake, scheduler }, every })
    }

    /// The time between two passes; of a cron expression, the longest seen in its next few.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.every
    }

    /// Waits until a pass is due. Wake-ups that came during a pass count as one.
    pub async fn due(&mut self) {
        match &mut self.rhythm {
            Rhythm::Every(interval) => {
                interval.tick().await;
            }
            Rhythm::Cron { wake, .. } => wake.notified().await,
        }
    }

    /// Ends the wake-ups.
    pub async fn stop(self) {
        if let Rhythm::Cron { mut scheduler, .. } = self.rhythm
            && let Err(error) = scheduler.shutdown().await
        {
            tracing::debug!(%error, "the cron scheduler did not end cleanly");
        }
    }
}

/// Whether a cron expression can be understood; asked when a configuration is read.
///
/// # Errors
/// [`InvalidCron`].
pub fn check_cron(expression: &str) -> Result<(), InvalidCron> {
    let refused = |source| InvalidCron { expression: expression.to_owned(), source };
    wake_up(expression, &Arc::new(Notify::new())).map(|_| ()).map_err(refused)
}

fn wake_up(expression: &str, wake: &Arc<Notify>) -> Result<(Job, Duration), JobSchedulerError> {
    // Five fields have no seconds; the scheduler wants six.
    let fields = expression.split_whitespace().count();
    let six = if fields == 5 { format!("0 {expression}") } else { expression.to_owned() };
    let wake = Arc::clone(wake);
    let job = Job::new(six.as_str(), move |_, _| wake.notify_one())?;
    Ok((job, longest_gap(&six)))
}

/// How far apart wake-ups are, for whoever must tell a late pass from one that isn't due. Read from the expression's
/// finest field that repeats, because the scheduler keeps its parser to itself.
fn longest_gap(six: &str) -> Duration {
    const UNITS: [u64; 6] = [1, 60, 3600, 86_400, 2_678_400, 86_400];
    let fields: Vec<&str> = six.split_whitespace().collect();
    let step = |field: &str| field.strip_prefix("*/").and_then(|n| n.parse::<u64>().ok());
    for (field, unit) in fields.iter().zip(UNITS) {
        if *field == "*" {
            return Duration::from_secs(unit);
        }
        if let Some(n) = step(field) {
            return Duration::from_secs(unit * n.max(1));
        }
    }
    Duration::from_secs(366 * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_and_six_fields_are_understood_and_nonsense_is_not() {
        for good in ["*/5 * * * *", "*/2 * * * * *", "0 30 3 * * *"] {
            check_cron(good).unwrap();
        }
        for bad in ["", "* *", "99 * * * *", "every minute"] {
            let error = check_cron(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("five fields"), "{error}");
        }
    }

    #[test]
    fn the_gap_is_that_of_the_finest_field_that_repeats() {
        assert_eq!(longest_gap("*/2 * * * * *"), Duration::from_secs(2));
        assert_eq!(longest_gap("0 */5 * * * *"), Duration::from_secs(300));
        assert_eq!(longest_gap("0 30 3 * * *"), Duration::from_secs(86_400));
    }

    #[tokio::test]
    async fn cron_wakes_and_then_ends() {
        let mut schedule = Schedule::cron("* * * * * *").await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), schedule.due()).await.unwrap();
        schedule.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_pass_does_not_make_the_next_ones_hurry() {
        let mut schedule = Schedule::every(Duration::from_secs(2));
        schedule.due().await;
        tokio::time::advance(Duration::from_secs(9)).await;
        schedule.due().await;
        let late = Instant::now();
        schedule.due().await;
        assert!(late.elapsed() >= Duration::from_secs(2), "{:?}", late.elapsed());
    }
}
