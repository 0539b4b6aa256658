//! The standard process metrics of Prometheus's client libraries, such as `process_cpu_seconds_total`,
//! `process_resident_memory_bytes` and `process_open_fds`.
//!
//! Each scrape reads them from `/proc`. Other systems than Linux have none.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::registry::Registry;
use std::fmt;

/// Creates a registry with the metrics of this process. Their names have no prefix.
pub(crate) fn process_registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessMetrics));
    registry
}

#[derive(Debug)]
struct ProcessMetrics;

impl Collector for ProcessMetrics {
    #[cfg(target_os = "linux")]
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        // If `/proc` cannot be read, the scrape still returns all other metrics.
        let Ok(read) = linux::read() else { return Ok(()) };
        for (name, help, value) in read {
            value.encode(&mut encoder, name, help)?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn encode(&self, _encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        Ok(())
    }
}

/// A value and its type.
#[derive(Debug, Clone, Copy)]
#[cfg(target_os = "linux")]
enum Value {
    Counter(f64),
    Gauge(i64),
    Time(f64),
}

#[cfg(target_os = "linux")]
impl Value {
    fn encode(self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error> {
        use prometheus_client::metrics::counter::ConstCounter;
        use prometheus_client::metrics::gauge::ConstGauge;
        match self {
            Self::Counter(value) => show(encoder, name, help, &ConstCounter::new(value)),
            Self::Gauge(value) => show(encoder, name, help, &ConstGauge::new(value)),
            Self::Time(value) => show(encoder, name, help, &ConstGauge::new(value)),
        }
    }
}

#[cfg(target_os = "linux")]
fn show(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Value;
    use procfs::process::{LimitValue, Process};
    use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};

    type Row = (&'static str, &'static str, Value);

    #[allow(clippy::cast_precision_loss, reason = "seconds and ticks, far below 2^52")]
    pub(super) fn read() -> ProcResult<Vec<Row>> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = ticks_per_second() as f64;
        let max_fds = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(most) => i64::try_from(most).unwrap_or(i64::MAX),
            LimitValue::Unlimited => i64::MAX,
        };
        let resident = stat.rss.saturating_mul(page_size());
        Ok(vec![
            (
                "process_cpu_seconds",
                "User and system CPU time of the process, in seconds",
                Value::Counter((stat.utime + stat.stime) as f64 / ticks),
            ),
            ("process_resident_memory_bytes", "Resident memory in bytes", gauge(resident)),
            ("process_virtual_memory_bytes", "Virtual memory in bytes", gauge(stat.vsize)),
            ("process_open_fds", "Open file descriptors", gauge(process.fd_count()? as u64)),
            ("process_max_fds", "Limit of open file descriptors", Value::Gauge(max_fds)),
            ("process_threads", "Threads of the process", Value::Gauge(stat.num_threads)),
            (
                "process_start_time_seconds",
                "Start time of the process, in seconds since 1970",
                Value::Time(boot_time_secs()? as f64 + stat.starttime as f64 / ticks),
            ),
        ])
    }

    fn gauge(value: u64) -> Value {
        Value::Gauge(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
