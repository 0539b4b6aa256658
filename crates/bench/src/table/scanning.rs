//! The HTTP figures: constant JSON, a ping, a scan, traced scans, a scan with a partner key, a denied scan
//! and a forged id. Each gets load for the same time in each round.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use test_support::OtlpReceiver;

use super::figures::{Bar, Figure, Unit};
use super::fleet::{Fleet, FleetBatch, FleetServer};
use crate::error::BenchError;
use crate::http::{self, HttpRequest};
use crate::load::{self, LoadPlan, LoadReport, Stop};

/// The numbers in the bars.
pub(super) const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
const MANY_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(150).expect("not zero");
/// The number of tags that are scanned in turn.
pub(super) const TAGS: u32 = 100_000;
/// The numbers of clients: many for admitted scans, few for denied ones, whose quota is soon spent.
const CALLERS: u32 = 10_000;
pub(super) const DENIED_CLIENTS: u32 = 4;
/// The uncounted time before each figure.
const WARM_UP: Duration = Duration::from_millis(250);
/// The tolerated share of responses with another status. The output lists each.
const STRAY: f64 = 0.01;
/// An open breaker waits at most 12 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(30);
const REFRESH_EVERY: Duration = Duration::from_millis(250);

/// One figure's load and its results so far.
pub(super) struct FigureLoad {
    name: &'static str,
    plan: LoadPlan,
    status: u16,
    reports: Vec<LoadReport>,
}

impl FigureLoad {
    pub(super) fn new(
        name: &'static str,
        address: SocketAddr,
        path: &str,
        connections: NonZeroUsize,
        status: u16,
    ) -> Result<Self, BenchError> {
        Self::with_headers(name, address, path, connections, status, &[])
    }

    pub(super) fn with_headers(
        name: &'static str,
        address: SocketAddr,
        path: &str,
        connections: NonZeroUsize,
        status: u16,
        headers: &[String],
    ) -> Result<Self, BenchError> {
        let plan = LoadPlan::new(&format!("http://{address}{path}"), connections, Stop::After(WARM_UP))?;
        let plan = plan.with_headers(headers)?.with_addresses(CALLERS)?;
        Ok(Self { name, plan, status, reports: Vec::new() })
    }

    pub(super) fn of(mut self, tags: &[String]) -> Result<Self, BenchError> {
        self.plan = self.plan.with_segments(tags)?;
        Ok(self)
    }

    /// Sends as that many clients in turn.
    pub(super) fn from(mut self, callers: u32) -> Result<Self, BenchError> {
        self.plan = self.plan.with_addresses(callers)?;
        Ok(self)
    }

    /// Applies the load for that time. A failed run is reported and repeated once.
    pub(super) async fn round(&mut self, time: Duration, doubts: &mut Vec<String>) -> Result<(), BenchError> {
        if let Err(spoiled) = self.once(time, doubts).await {
            doubts.push(format!("{spoiled}\n  repeated"));
            self.recovered().await?;
            self.once(time, doubts).await?;
        }
        Ok(())
    }

    async fn once(&mut self, time: Duration, doubts: &mut Vec<String>) -> Result<(), BenchError> {
        self.apply_load(Stop::After(WARM_UP)).await?;
        let report = self.apply_load(Stop::After(time)).await?;
        let strays = report.requests - report.count(self.status) + report.errors;
        if report.requests == 0
            || strays as f64 > report.requests as f64 * STRAY
            || report.missing_retry_after > 0
        {
            let (name, status) = (self.name, self.status);
            return Err(BenchError::Unexpected(format!(
                "{name}: {status} was expected, and this came:\n{report}"
            )));
        }
        if strays > 0 {
            doubts.push(format!(
                "{}: of {} answers {strays} were not {}",
                self.name, report.requests, self.status
            ));
        }
        self.reports.push(report);
        Ok(())
    }

    /// Waits until an open breaker admits calls again.
    async fn recovered(&mut self) -> Result<(), BenchError> {
        let clock = SystemClock::new();
        while clock.monotonic() < RECOVERS_WITHIN {
            if self.apply_load(Stop::Requests(CONNECTIONS.get() as u64)).await?.errors == 0
                && self.apply_load(Stop::Requests(1)).await?.count(self.status) == 1
            {
                return Ok(());
            }
            tokio::time::sleep(REFRESH_EVERY).await;
        }
        Err(BenchError::Unexpected(format!("{}: it does not recover", self.name)))
    }

    async fn apply_load(&mut self, stop: Stop) -> Result<LoadReport, BenchError> {
        self.plan.stop = stop;
        let report = load::apply_load(self.plan.clone()).await?;
        // The next run continues with the following tags.
        self.plan.first += report.requests;
        Ok(report)
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn rates(&self) -> Vec<f64> {
        self.reports.iter().map(|report| report.rps).collect()
    }

    fn p99s(&self) -> Vec<f64> {
        self.reports.iter().map(|report| report.p99_ms).collect()
    }
}

/// The loads of a round, in their order.
pub(super) struct Scanning {
    _servers: [FleetServer; 3],
    _receiver: OtlpReceiver,
    constant: FigureLoad,
    forged: FigureLoad,
    floor: FigureLoad,
    scan: FigureLoad,
    traced_in_part: FigureLoad,
    traced: FigureLoad,
    partner: FigureLoad,
    denied: FigureLoad,
    floor_of_many: FigureLoad,
    scan_of_many: FigureLoad,
}

impl Scanning {
    /// Prepares scans of the tags of `batch` and of forged ids.
    ///
    /// # Errors
    /// Fails if the services reject a request.
    pub(super) async fn prepare(fleet: &Fleet, batch: &FleetBatch) -> Result<Self, BenchError> {
        let tags = fleet.export(&batch.id, 0, TAGS).await?;
        let forged: Vec<String> = tags.iter().map(|tag| forgery(tag)).collect();
        let (scan, limited) = (fleet.scan.address, fleet.limited_scan.address);
        let path = format!("/v1/scan/{}", tags[0]);
        let answer = http::ask(scan, HttpRequest::get(&path)).await?;
        answer.json(200)?;
        let baseline = fleet.start_baseline(answer.body.len()).await?;
        let receiver = OtlpReceiver::start_forgetful().await;
        let traced_in_part = fleet.start_traced(&receiver.url(), "0.01").await?;
        let traced = fleet.start_traced(&receiver.url(), "1").await?;
        let floor = |name, connections| FigureLoad::new(name, baseline.address, "/ping", connections, 200);
        let scans = |name, address, connections, status| {
            FigureLoad::new(name, address, "/v1/scan", connections, status)
        };
        let denied = scans("denied scan", limited, CONNECTIONS, 429)?.of(&tags)?;
        let shown = [format!("Authorization: Bearer {}", fleet.partner_key().await?.reveal())];
        let partner =
            FigureLoad::with_headers("scan with a partner key", scan, "/v1/scan", CONNECTIONS, 200, &shown)?;
        Ok(Self {
            constant: FigureLoad::new("constant JSON", baseline.address, "/constant", CONNECTIONS, 200)?,
            forged: scans("forged id", scan, CONNECTIONS, 404)?.of(&forged)?,
            floor: floor("floor", CONNECTIONS)?,
            scan: scans("scan", scan, CONNECTIONS, 200)?.of(&tags)?,
            traced_in_part: scans("scan, 1 % traced", traced_in_part.address, CONNECTIONS, 200)?.of(&tags)?,
            traced: scans("scan, all traced", traced.address, CONNECTIONS, 200)?.of(&tags)?,
            partner: partner.of(&tags)?,
            denied: denied.from(DENIED_CLIENTS)?,
            floor_of_many: floor("floor, 150 connections", MANY_CONNECTIONS)?,
            scan_of_many: scans("scan, 150 connections", scan, MANY_CONNECTIONS, 200)?.of(&tags)?,
            _servers: [baseline, traced_in_part, traced],
            _receiver: receiver,
        })
    }

    /// Applies each load for that time. Adds tolerated deviations to `doubts`.
    ///
    /// # Errors
    /// Fails if a service does not respond as expected.
    pub(super) async fn round(&mut self, time: Duration, doubts: &mut Vec<String>) -> Result<(), BenchError> {
        let all = [
            &mut self.constant,
            &mut self.forged,
            &mut self.floor,
            &mut self.scan,
            &mut self.traced_in_part,
            &mut self.traced,
            &mut self.partner,
            &mut self.denied,
            &mut self.floor_of_many,
            &mut self.scan_of_many,
        ];
        for load in all {
            load.round(time, doubts).await?;
        }
        Ok(())
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        let rate = |apply_load: &FigureLoad| {
            Figure::new(format!("{}, 64 connections", apply_load.name), Unit::PerSecond, apply_load.rates())
        };
        let floor = || self.floor.rates();
        vec![
            rate(&self.constant),
            rate(&self.floor).beside("constant JSON", Unit::PerSecond, self.constant.rates()),
            rate(&self.scan).beside("floor", Unit::PerSecond, floor()).bar(Bar::RatioAtLeast(0.5)),
            rate(&self.traced_in_part).beside("scan without traces", Unit::PerSecond, self.scan.rates()),
            rate(&self.traced).beside("scan without traces", Unit::PerSecond, self.scan.rates()),
            rate(&self.partner)
                .beside("admitted scan", Unit::PerSecond, self.scan.rates())
                .bar(Bar::RatioAtLeast(0.9)),
            rate(&self.denied)
                .beside("forged id", Unit::PerSecond, self.forged.rates())
                .bar(Bar::RatioAtLeast(0.95)),
            rate(&self.forged)
                .beside("constant JSON", Unit::PerSecond, self.constant.rates())
                .bar(Bar::RatioAtLeast(0.85)),
            Figure::new("p99 of a scan, 150 connections", Unit::Millis, self.scan_of_many.p99s())
                .beside("the floor's p99", Unit::Millis, self.floor_of_many.p99s())
                .bar(Bar::RatioAtMost(3.0)),
        ]
    }
}

/// Changes the last digit of an id: the result is well-formed but not authentic.
pub(super) fn forgery(tag: &str) -> String {
    let (rest, last) = tag.split_at(tag.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}
