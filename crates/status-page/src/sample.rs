//! What the page needs of one exposition of the metrics.

use std::time::Duration;

/// The routes of operators and probes, which are no traffic.
const OPERATION: [&str; 4] = ["/metrics", "/status", "/v1/health", "/v1/ready"];

/// The state of one Redis pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    /// 0 closed, 1 half-open, 2 open.
    pub(crate) breaker: f64,
    /// Permits in use.
    pub(crate) in_use: f64,
    /// Permits in total.
    pub(crate) permits: f64,
}

/// The values of one moment. Counters count from the start of the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    /// The name and the version of the service.
    pub(crate) program: String,
    pub(crate) requests: f64,
    /// Responses 5xx, and rejections because of overload.
    pub(crate) failures: f64,
    /// Rejections at the caller's own limit.
    pub(crate) limited: f64,
    /// Upper bounds in seconds, and the number of requests up to each, in ascending order.
    pub(crate) buckets: Vec<(f64, f64)>,
    pub(crate) pools: Vec<Pool>,
    /// 1 while the region's limits are reduced. Only a service that limits by region has it.
    pub(crate) cold: Option<f64>,
}

impl Sample {
    /// Reads an exposition. Lines that the page does not need, or that are malformed, are ignored.
    pub(crate) fn read(at: Duration, exposition: &str) -> Self {
        let mut sample = Self { at, ..Self::default() };
        for line in exposition.lines() {
            if let Some(series) = line.strip_prefix("voketag_").and_then(Series::read) {
                sample.add(&series);
            }
        }
        sample.buckets.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        sample
    }

    fn add(&mut self, series: &Series<'_>) {
        let Series { name, value, .. } = *series;
        let is_traffic = series.label("route").is_none_or(|route| !OPERATION.contains(&route));
        match name {
            "http_requests_total" if is_traffic => {
                self.requests += value;
                let overloaded = series.label("problem") == Some("service-overloaded");
                if overloaded || series.label("status").is_some_and(|status| status.starts_with('5')) {
                    self.failures += value;
                } else if series.label("status") == Some("429") {
                    self.limited += value;
                }
            }
            "http_request_duration_seconds_bucket" if is_traffic => {
                let Some(bound) = series.label("le").and_then(bound) else { return };
                match self.buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                    Some((_, count)) => *count += value,
                    None => self.buckets.push((bound, value)),
                }
            }
            "circuit_breaker_state" => self.pool(series).breaker = value,
            "redis_pool_slots" => match series.label("state") {
                Some("in_use") => self.pool(series).in_use = value,
                Some("total") => self.pool(series).permits = value,
                _ => {}
            },
            "build_info" => {
                let label = |name| series.label(name).unwrap_or_default();
                self.program = format!("{} {}", label("service"), label("version"));
            }
            "rate_limit_region_cold" => self.cold = Some(value),
            _ => {}
        }
    }

    fn pool(&mut self, series: &Series<'_>) -> &mut Pool {
        let name = series.label("pool").unwrap_or_default();
        let at = self.pools.iter().position(|pool| pool.name == name).unwrap_or_else(|| {
            self.pools.push(Pool { name: name.to_owned(), ..Pool::default() });
            self.pools.len() - 1
        });
        &mut self.pools[at]
    }
}

fn bound(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

/// One line of an exposition: `name{label="value",…} value`.
struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Series<'a> {
    fn read(line: &'a str) -> Option<Self> {
        // OpenMetrics may add an exemplar after ` # `.
        let line = line.split_once(" # ").map_or(line, |(line, _)| line);
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        Some(Self { name, labels, value })
    }

    /// Returns the value of a label. None of those that the page reads holds a quote.
    fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            if label == name {
                return Some(value);
            }
            rest = after.trim_start_matches(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposition_is_summed_over_routes_without_those_of_operation() {
        let requests = |route: &str, status: u16, problem: &str, count: u32| {
            format!(
                "voketag_http_requests_total{{route=\"{route}\",method=\"GET\",status=\"{status}\",\
                 problem=\"{problem}\"}} {count}\n"
            )
        };
        let text = [
            requests("/v1/scan", 200, "none", 10),
            requests("/t/{tag_id}", 503, "redis-unavailable", 3),
            requests("/v1/scan", 429, "service-overloaded", 2),
            requests("/v1/scan", 429, "rate-limited", 5),
            requests("/v1/ready", 503, "none", 100),
            requests("/metrics", 200, "none", 100),
            "voketag_circuit_breaker_state{pool=\"durable\"} 2\n".to_owned(),
            "voketag_redis_pool_slots{pool=\"durable\",state=\"total\"} 100\n".to_owned(),
            "voketag_redis_pool_slots{pool=\"durable\",state=\"in_use\"} 7\n".to_owned(),
            "voketag_rate_limit_region_cold 1\n# EOF\nnonsense\n".to_owned(),
        ]
        .concat();
        let sample = Sample::read(Duration::ZERO, &text);
        assert_eq!((sample.requests, sample.failures, sample.limited), (20.0, 5.0, 5.0));
        let durable = Pool { name: "durable".to_owned(), breaker: 2.0, in_use: 7.0, permits: 100.0 };
        assert_eq!((sample.pools, sample.cold), (vec![durable], Some(1.0)));
    }

    #[test]
    fn buckets_of_all_routes_are_added_and_sorted() {
        let text = "voketag_http_request_duration_seconds_bucket{le=\"+Inf\",route=\"/a\"} 9\n\
                    voketag_http_request_duration_seconds_bucket{le=\"0.5\",route=\"/a\"} 4 # {x=\"1\"} 1\n\
                    voketag_http_request_duration_seconds_bucket{le=\"0.5\",route=\"/b\"} 2\n\
                    voketag_http_request_duration_seconds_bucket{le=\"0.5\",route=\"/status\"} 2\n";
        let sample = Sample::read(Duration::ZERO, text);
        assert_eq!(sample.buckets, [(0.5, 6.0), (f64::INFINITY, 9.0)]);
    }
}
