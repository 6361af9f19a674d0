//! What a span of work cost: time, CPU of this process and of the broker, memory. All by `/proc`.

use std::{fs, path::Path, process, time::Instant};

use crate::{Result, statistics::percentile, task::Measured};

/// A moment, and what had been used until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Instant,
    client_ns: u64,
    broker_ticks: u64,
}

impl Mark {
    /// Now.
    pub(crate) fn now(broker: Option<u32>) -> Result<Self> {
        let broker_ticks = broker.map_or(Ok(0), ticks_of)?;
        Ok(Self { at: Instant::now(), client_ns: own_cpu_ns()?, broker_ticks })
    }

    /// What the span from here to `end` cost. `latencies` are in microseconds.
    pub(crate) fn until(self, end: Self, events: u64, latencies: &mut [u32]) -> Result<Measured> {
        latencies.sort_unstable();
        Ok(Measured {
            events,
            seconds: (end.at - self.at).as_secs_f64(),
            p50_us: percentile(latencies, 0.50),
            p99_us: percentile(latencies, 0.99),
            client_cpu_us: end.client_ns.saturating_sub(self.client_ns) as f64 / 1000.0,
            broker_cpu_us: (end.broker_ticks - self.broker_ticks) as f64 * US_PER_TICK,
            peak_rss_kib: peak_rss_kib()?,
        })
    }
}

/// User and system time of every thread that lives. The file of a process tells of its main thread
/// alone, and `stat` counts in steps of 10 ms.
fn own_cpu_ns() -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let path = thread?.path().join("schedstat");
        // A thread may end while we look.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        sum += first_number(&text).ok_or_else(|| unreadable(&path, &text))?;
    }
    if sum == 0 {
        Err("/proc/self/task/*/schedstat tells nothing: the kernel keeps no statistics".into())
    } else {
        Ok(sum)
    }
}

/// User and system time of another process, in ticks.
fn ticks_of(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}; the broker is gone"))?;
    ticks(&text).ok_or_else(|| unreadable(Path::new(&path), &text).into())
}

/// Fields 14 and 15; the name in the second one may have spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn peak_rss_kib() -> Result<u64> {
    let path = format!("/proc/{}/status", process::id());
    let text = fs::read_to_string(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(first_number).ok_or_else(|| unreadable(Path::new(&path), &text).into())
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn unreadable(path: &Path, text: &str) -> String {
    format!("{} has {text:?}, which is not what Linux writes there", path.display())
}

/// `USER_HZ` is 100 on every Linux that people run.
const US_PER_TICK: f64 = 10_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_ticks_of_a_process_with_an_odd_name() {
        let stat = "7 (1_sched) (x) S 1 7 7 0 -1 4194304 1 0 0 0 120 34 0 0 20 0 1 0 5 6 7";

        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("7 (beam"), None);
    }

    #[test]
    fn what_is_done_costs_something() {
        let begin = Mark::now(None).unwrap();
        while begin.at.elapsed().as_millis() < 30 {}
        let end = Mark::now(None).unwrap();

        let measured = begin.until(end, 3, &mut [30, 10, 20]).unwrap();

        assert!(measured.client_cpu_us > 1000.0, "{measured:?}");
        assert!(measured.peak_rss_kib > 500, "{measured:?}");
        assert_eq!((measured.events, measured.p50_us), (3, 20.0));
    }
}
