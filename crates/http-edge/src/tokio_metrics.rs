//! The metrics of the tokio runtime that serves requests. Each scrape reads them.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeMetrics};

/// `tokio_workers`, `tokio_worker_busy_seconds_total`, `tokio_alive_tasks` and `tokio_global_queue_depth`.
#[derive(Debug)]
pub(crate) struct TokioMetrics(RuntimeMetrics);

impl TokioMetrics {
    /// Observes the current runtime. Must be called inside it.
    pub(crate) fn of_this_runtime() -> Self {
        Self(Handle::current().metrics())
    }
}

impl Collector for TokioMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let workers = self.0.num_workers();
        let busy: Duration = (0..workers).map(|worker| self.0.worker_total_busy_duration(worker)).sum();
        let mut show = |name, help, metric: &dyn ErasedMetric| metric.show(&mut encoder, name, help);
        show("tokio_workers", "Worker threads of the runtime", &gauge(workers))?;
        let help = "Time that all workers together were busy, in seconds";
        show("tokio_worker_busy_seconds", help, &ConstCounter::new(busy.as_secs_f64()))?;
        let help = "Tasks that are spawned and not finished";
        show("tokio_alive_tasks", help, &gauge(self.0.num_alive_tasks()))?;
        let help = "Tasks that wait in the queue that all workers share";
        show("tokio_global_queue_depth", help, &gauge(self.0.global_queue_depth()))
    }
}

/// A metric without labels.
trait ErasedMetric {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error>;
}

impl<M: EncodeMetric> ErasedMetric for M {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error> {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
