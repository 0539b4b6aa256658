//! The document around the charts.

use std::time::Duration;

use crate::chart::{Axis, ChartLine, escape, figure};
use crate::history::{Curve, History};

/// The style of the page. It is the only content of its `style` element.
pub const STYLE: &str = include_str!("style.css");

const BREAKER: &[&str] = &["closed", "half-open", "open"];
const COLD: &[&str] = &["warm", "cold"];

/// Returns the page as of `now`: an HTML document whose style is [`STYLE`].
#[must_use]
pub fn render(history: &History, now: Duration) -> String {
    let line = |name: &str, curve: Curve| ChartLine { name: name.to_owned(), curve };
    let per_second = Axis::Number { least: 1.0, unit: "/s" };
    let mut charts = vec![
        figure(
            "Requests",
            per_second,
            &[
                line("all", history.rate(now, |sample| sample.requests)),
                line("over their limit (429)", history.rate(now, |sample| sample.limited)),
            ],
        ),
        figure(
            "Failures",
            per_second,
            &[line("5xx and overload", history.rate(now, |sample| sample.failures))],
        ),
        figure(
            "Latency",
            Axis::Number { least: 0.001, unit: " ms" },
            &[
                line("median", in_milliseconds(history.quantile(now, 0.5))),
                line("99 %", in_milliseconds(history.quantile(now, 0.99))),
            ],
        ),
    ];
    let pools: Vec<String> = history
        .latest()
        .map_or_else(Vec::new, |latest| latest.pools.iter().map(|pool| pool.name.clone()).collect());
    let by_pool = |value: &dyn Fn(&crate::sample::Pool) -> f64| -> Vec<ChartLine> {
        pools.iter().map(|name| line(name, history.pool_values(now, name, value))).collect()
    };
    charts.push(figure(
        "Circuit breaker by Redis pool",
        Axis::Steps(BREAKER),
        &by_pool(&|pool| pool.breaker),
    ));
    let used = by_pool(&|pool| if pool.permits > 0.0 { pool.in_use / pool.permits * 100.0 } else { 0.0 });
    charts.push(figure("Permits in use by Redis pool", Axis::Number { least: 10.0, unit: "%" }, &used));
    if history.latest().is_some_and(|latest| latest.cold.is_some()) {
        let cold = history.values(now, |sample| sample.cold);
        charts.push(figure("Cold start of the region", Axis::Steps(COLD), &[line("limits", cold)]));
    }
    let state = history.latest().map_or("unknown", |latest| {
        let open = latest.pools.iter().any(|pool| pool.breaker >= 2.0);
        if open { "a circuit breaker is open" } else { "no circuit breaker is open" }
    });
    let program = history.latest().map_or("", |latest| latest.program.as_str());
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Status of {program}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <style>{STYLE}</style></head><body><main><h1>Status of {program}</h1>\
         <p>This instance, the last 15 minutes: {}. Reload for newer values. \
         Requests for metrics, status and health are left out. <a href=\"/metrics\">All metrics</a></p>\
         <div class=\"charts\">{}</div></main></body></html>",
        escape(state),
        charts.concat(),
        program = escape(program),
    )
}

fn in_milliseconds(curve: Curve) -> Curve {
    curve.into_iter().map(|point| point.map(|(age, value)| (age, value * 1_000.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_has_just_started_has_charts_without_data() {
        let page = render(&History::new(), Duration::ZERO);
        assert!(page.contains("no data") && page.matches("<figure>").count() == 5, "{page}");
        assert!(!page.contains("<script"));
    }

    #[test]
    fn the_state_of_each_pool_and_of_the_region_is_shown() {
        let mut history = History::new();
        history.record(
            Duration::ZERO,
            "voketag_circuit_breaker_state{pool=\"durable\"} 2\n\
             voketag_circuit_breaker_state{pool=\"limiter\"} 0\nvoketag_rate_limit_region_cold 1\n\
             voketag_build_info{service=\"scan-service\",version=\"1.2.3\"} 1\n",
        );
        let page = render(&history, Duration::ZERO);
        for shown in [
            "durable <b>open</b>",
            "limiter <b>closed</b>",
            "limits <b>cold</b>",
            "breaker is open",
            "of scan-service 1.2.3<",
        ] {
            assert!(page.contains(shown), "{shown}: {page}");
        }
    }
}
